package l7

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
)

// A naive reading of expressions: a random tree is written down for the router
// and evaluated here as it stands, with no parser and no index.

// tree is an expression.
type tree struct {
	operator string // && || ! or, for a comparison, one of those of its field
	parts    []*tree

	field, value string
	lower, any   bool
}

func (e *tree) String() string {
	switch e.operator {
	case "!":
		return "!(" + e.parts[0].String() + ")"
	case "&&", "||":
		texts := make([]string, len(e.parts))
		for i, p := range e.parts {
			if texts[i] = p.String(); p.operator == "&&" || p.operator == "||" {
				texts[i] = "(" + texts[i] + ")"
			}
		}
		return strings.Join(texts, " "+e.operator+" ")
	}
	left, right := e.field, e.value
	if e.lower {
		left = "lower(" + left + ")"
	}
	if e.any {
		left = "any(" + left + ")"
	}
	if !strings.HasPrefix(e.field, "net.") && !strings.HasSuffix(e.field, ".len") || e.field == "net.protocol" {
		right = `r#"` + right + `"#`
	}
	return left + " " + e.operator + " " + right
}

// holds evaluates e, and notes what it matched of the path.
func (e *tree) holds(t *testing.T, q *Query, matched *string) bool {
	switch e.operator {
	case "!":
		return !e.parts[0].holds(t, q, matched)
	case "&&":
		return !slices.ContainsFunc(e.parts, func(p *tree) bool { return !p.holds(t, q, matched) })
	case "||":
		return slices.ContainsFunc(e.parts, func(p *tree) bool { return p.holds(t, q, matched) })
	}
	values := naiveValues(e.field, q)
	good := 0
	for _, v := range values {
		if e.lower {
			v = strings.ToLower(v)
		}
		if naiveCompare(t, v, e.operator, e.value) {
			good++
		}
	}
	held := good > 0 && (e.any || good == len(values))
	if held && e.field == "http.path" {
		switch e.operator {
		case "==":
			*matched = q.Path
		case "^=":
			*matched = q.Path[:len(e.value)]
		case "~":
			path := q.Path
			if e.lower {
				path = strings.ToLower(path)
			}
			if loc := naiveRegexp(t, e.value).FindStringIndex(path); loc[0] == 0 {
				*matched = q.Path[:loc[1]]
			}
		}
	}
	return held
}

func naiveValues(field string, q *Query) []string {
	var segments []string
	if trimmed := strings.TrimRight(strings.TrimPrefix(q.Path, "/"), "/"); trimmed != "" && q.Path[0] == '/' {
		segments = strings.Split(trimmed, "/")
	}
	one := func(v string) []string { return slices.DeleteFunc([]string{v}, func(s string) bool { return s == "" }) }
	if name, ok := strings.CutPrefix(field, "http.headers."); ok {
		var values []string
		for _, f := range q.Header.Fields() {
			if strings.EqualFold(strings.ReplaceAll(f.Name, "-", "_"), name) {
				values = append(values, f.Value)
			}
		}
		return values
	}
	if name, ok := strings.CutPrefix(field, "http.queries."); ok {
		values, _ := url.ParseQuery(q.Args)
		return values[name]
	}
	switch field {
	case "net.protocol":
		if q.HTTPS {
			return one("https")
		}
		return one("http")
	case "tls.sni":
		if q.HTTPS {
			return one(q.SNI)
		}
	case "http.method":
		return one(q.Method)
	case "http.host":
		return one(q.Host)
	case "http.path":
		return one(q.Path)
	case "http.path.segments.len":
		return one(strconv.Itoa(len(segments)))
	case "http.path.segments.0", "http.path.segments.1":
		if n := int(field[len(field)-1] - '0'); n < len(segments) {
			return []string{segments[n]}
		}
	case "http.path.segments.0_1":
		if len(segments) > 1 {
			return []string{segments[0] + "/" + segments[1]}
		}
	case "net.src.ip":
		return one(q.Conn.Client.Addr().String())
	case "net.dst.port":
		return one(strconv.Itoa(int(q.Port)))
	}
	return nil
}

func naiveCompare(t *testing.T, v, operator, with string) bool {
	a, b := 0, 0
	if strings.Contains("> >= < <=", operator) {
		a, _ = strconv.Atoi(v)
		b, _ = strconv.Atoi(with)
	}
	switch operator {
	case "==":
		return v == with
	case "!=":
		return v != with
	case "^=":
		return strings.HasPrefix(v, with)
	case "=^":
		return strings.HasSuffix(v, with)
	case "contains":
		return strings.Contains(v, with)
	case "~":
		return naiveRegexp(t, with).MatchString(v)
	case ">":
		return a > b
	case ">=":
		return a >= b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case "in":
		return netip.MustParsePrefix(with).Contains(netip.MustParseAddr(v))
	case "not in":
		return !netip.MustParsePrefix(with).Contains(netip.MustParseAddr(v))
	}
	t.Fatalf("operator %q", operator)
	return false
}

// What random comparisons are made of.
var (
	textOperators   = []string{"==", "==", "!=", "^=", "^=", "=^", "contains"}
	numberOperators = []string{"==", "!=", ">", ">=", "<", "<="}
	randomFields    = []struct {
		name      string
		operators []string
		values    []string
	}{
		{"http.host", textOperators, []string{"a.test", "b.a.test", ".a.test", "a.", "b.a", "test", "b"}},
		{"http.host", textOperators, []string{"a.test", "b.a.test", ".test", "b.", "t"}},
		{"http.path", textOperators, []string{"/", "/a", "/a/b", "/b", "/a/b/c", "c", "/ab"}},
		{"http.path", []string{"~"}, []string{`^/a`, `^/a/(b|c)`, `b$`, `^/(a|b)/.`, `/b`}},
		{"http.method", []string{"==", "!="}, randomMethods},
		{"net.protocol", []string{"==", "!="}, []string{"http", "https"}},
		{"tls.sni", textOperators, []string{"a.test", ".test", "b."}},
		{"http.path.segments.0", textOperators, []string{"a", "b"}},
		{"http.path.segments.0_1", textOperators, []string{"a/b", "b/a"}},
		{"http.path.segments.len", numberOperators, []string{"0", "1", "2", "3"}},
		{"http.headers.x_a", append([]string{"~"}, textOperators...), []string{"1", "2", "tree", "t"}},
		{"http.headers.user_agent", textOperators, []string{"curl", "c"}},
		{"http.queries.q", textOperators, []string{"1", "two", "", "a b"}},
		{"net.src.ip", []string{"==", "!="}, []string{"192.0.2.1", "2001:db8::1"}},
		{"net.src.ip", []string{"in", "not in"}, []string{"192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"}},
		{"net.dst.port", numberOperators, []string{"80", "81"}},
	}
	randomArgs = []string{"", "q=1", "q=two&q=1", "q", "x=1&q=a+b", "q=%31", "Q=1"}
)

func randomTree(rnd *rand.Rand, depth int) *tree {
	if depth == 0 || rnd.IntN(3) == 0 {
		f := one(rnd, randomFields)
		e := &tree{field: f.name, operator: one(rnd, f.operators), value: one(rnd, f.values)}
		if !strings.HasPrefix(f.name, "net.") && !strings.HasSuffix(f.name, ".len") {
			e.lower = rnd.IntN(5) == 0
		}
		e.any = rnd.IntN(4) == 0
		return e
	}
	e := &tree{operator: one(rnd, []string{"&&", "&&", "||", "!"})}
	parts := 1
	if e.operator != "!" {
		parts = 2 + rnd.IntN(2)
	}
	for range parts {
		e.parts = append(e.parts, randomTree(rnd, depth-1))
	}
	return e
}

func TestRouterAgreesWithNaiveExpressions(t *testing.T) {
	const sets, queries = 600, 40
	protocols := [][]config.Protocol{nil, {config.HTTP}, {config.HTTPS}, {config.HTTP, config.HTTPS}}
	found, byExpression := 0, 0
	for seed := range uint64(sets) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		entities := randomRoutes(rnd)
		trees := make([]*tree, len(entities))
		for i := range entities {
			e := &entities[i]
			if rnd.IntN(4) == 0 {
				trees[i] = &tree{operator: "&&", parts: []*tree{randomTree(rnd, 2), randomTree(rnd, 2)}}
				*e = config.Route{Name: e.Name, Expression: trees[i].String(), Priority: rnd.IntN(3), CreatedAt: e.CreatedAt}
			}
			e.Protocols = one(rnd, protocols)
		}
		router := newFlavoredTestRouter(t, entities)
		var m Match
		for range queries {
			q := randomQuery(rnd)
			q.Args = one(rnd, randomArgs)
			q.Conn = &l4.Info{
				Client: netip.AddrPortFrom(netip.MustParseAddr(one(rnd, []string{"192.0.2.1", "198.51.100.1", "2001:db8::1"})), 4711),
				Local:  netip.MustParseAddrPort("198.51.100.9:8000"),
			}
			want, matched := naiveExpressions(t, entities, trees, q)
			ok := router.Match(q, &m)
			switch {
			case !ok && want < 0:
				continue
			case ok != (want >= 0):
				t.Fatalf("seed %d, %+v, header %v: found %v; want route %d", seed, q, q.Header.Fields(), ok, want)
			case m.Route.Entity != &entities[want] || m.Matched != matched:
				t.Fatalf("seed %d, %+v, header %v:\nfound %+v by %q\nwant  %+v by %q", seed, q, q.Header.Fields(),
					*m.Route.Entity, m.Matched, entities[want], matched)
			}
			found++
			if trees[want] != nil {
				byExpression++
			}
		}
	}
	if found < sets*queries/4 || byExpression < found/4 || byExpression > found*19/20 {
		t.Errorf("%d of %d requests found a route, %d by an expression: the sets test little", found, sets*queries, byExpression)
	}
}

// naiveExpressions returns the route of q, or -1, and what it matched.
func naiveExpressions(t *testing.T, routes []config.Route, trees []*tree, q *Query) (best int, matched string) {
	best = -1
	var fields []config.Route
	var places []int
	for i := range routes {
		r := &routes[i]
		if q.HTTPS && slices.Equal(r.Protocols, []config.Protocol{config.HTTP}) {
			continue
		}
		if trees[i] == nil {
			fields, places = append(fields, *r), append(places, i)
			continue
		}
		var m string
		if !trees[i].holds(t, q, &m) {
			continue
		}
		if best >= 0 && cmp.Or(cmp.Compare(r.Priority, routes[best].Priority), cmp.Compare(routes[best].CreatedAt, r.CreatedAt)) <= 0 {
			continue
		}
		best, matched = i, m
	}
	if best >= 0 {
		return best, matched
	}
	if c := naiveMatch(t, fields, q); c != nil {
		return places[c.route], c.matched
	}
	return -1, ""
}

// makeManyExpressions is makeManyRoutes in expressions.
func makeManyExpressions(n int) []config.Route {
	entities := makeManyRoutes(n)
	for i := range entities {
		e := &entities[i]
		var parts []string
		if len(e.Hosts) > 0 {
			parts = append(parts, fmt.Sprintf("http.host == %q", e.Hosts[0]))
		}
		parts = append(parts, fmt.Sprintf("http.path ^= %q", e.Paths[0]))
		*e = config.Route{Name: e.Name, Expression: strings.Join(parts, " && "), Priority: len(e.Paths[0])}
	}
	return entities
}
