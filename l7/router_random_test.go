package l7

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
)

// A naive reading of the rules: it looks at every path of every route, with
// nothing prepared, and shares no code with the router.

// claim is a route that matches a request, by one of its paths, and what
// decides between it and others.
type claim struct {
	route   int
	path    int // place among the route's paths
	matched string
	groups  []Capture

	attributes, plain, headers, pattern, priority, length, ported int
	created                                                       float64
}

// beats reports whether a is to be preferred to b.
func (a *claim) beats(b *claim) bool {
	return cmp.Or(
		cmp.Compare(b.attributes, a.attributes),
		cmp.Compare(b.plain, a.plain),
		cmp.Compare(b.headers, a.headers),
		cmp.Compare(b.pattern, a.pattern),
		cmp.Compare(b.priority, a.priority),
		cmp.Compare(b.length, a.length),
		cmp.Compare(b.ported, a.ported),
		cmp.Compare(a.created, b.created),
		cmp.Compare(a.route, b.route),
		cmp.Compare(a.path, b.path),
	) < 0
}

func naiveMatch(t *testing.T, routes []config.Route, q *Query) (best *claim) {
	t.Helper()
	for i := range routes {
		for _, c := range naiveClaims(t, &routes[i], q) {
			c.route = i
			if best == nil || c.beats(best) {
				best = &c
			}
		}
	}
	return best
}

func naiveClaims(t *testing.T, r *config.Route, q *Query) (claims []claim) {
	var base claim
	base.created = float64(r.CreatedAt)
	for _, n := range []int{len(r.Methods), len(r.SNIs), len(r.Hosts), len(r.Headers), len(r.Paths)} {
		base.attributes += min(n, 1)
	}
	base.headers = len(r.Headers)
	if len(r.Methods) > 0 && !slices.Contains(r.Methods, q.Method) {
		return nil
	}
	if len(r.SNIs) > 0 && q.HTTPS && !slices.ContainsFunc(r.SNIs, func(s string) bool { return naiveName(s, q.SNI) }) {
		return nil
	}
	for name, values := range r.Headers {
		if !naiveHeader(t, name, values, q.Header) {
			return nil
		}
	}
	if len(r.Hosts) > 0 {
		base.plain = 1
		found := false
		for _, h := range r.Hosts {
			name, port, ported := naiveHost(h)
			if strings.Contains(name, "*") {
				base.plain = 0
			}
			if naiveName(name, q.Host) && (!ported || port == fmt.Sprint(q.Port)) {
				found = true
				if ported {
					base.ported = 1
				}
			}
		}
		if !found {
			return nil
		}
	}
	if len(r.Paths) == 0 {
		return []claim{base}
	}
	for i, p := range r.Paths {
		c := base
		c.path = i
		if expr, ok := strings.CutPrefix(p, "~"); ok {
			re := naiveRegexp(t, "^(?:"+expr+")")
			loc := re.FindStringSubmatchIndex(q.Path)
			if loc == nil {
				continue
			}
			c.pattern, c.priority, c.matched = 1, r.RegexPriority, q.Path[:loc[1]]
			for g, name := range re.SubexpNames() {
				if g > 0 && loc[2*g] >= 0 {
					c.groups = append(c.groups, Capture{g, name, q.Path[loc[2*g]:loc[2*g+1]]})
				}
			}
		} else {
			if !strings.HasPrefix(q.Path, p) {
				continue
			}
			c.length, c.matched = len(p), p
		}
		claims = append(claims, c)
	}
	return claims
}

// naiveHost cuts a host in two; without brackets the colons of an IPv6 address
// are its own.
func naiveHost(h string) (name, port string, ported bool) {
	if addr, rest, ok := strings.Cut(h, "]"); ok {
		port, ported = strings.CutPrefix(rest, ":")
		return addr + "]", port, ported
	}
	if strings.Count(h, ":") > 1 {
		return "[" + h + "]", "", false
	}
	return strings.Cut(h, ":")
}

func naiveName(pattern, name string) bool {
	switch pattern, name = strings.ToLower(pattern), strings.ToLower(name); {
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(name, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(name, pattern[:len(pattern)-1])
	}
	return pattern == name
}

func naiveHeader(t *testing.T, name string, values []string, h *Header) bool {
	for _, f := range h.Fields() {
		if !strings.EqualFold(strings.ReplaceAll(f.Name, "_", "-"), strings.ReplaceAll(name, "_", "-")) {
			continue
		}
		for _, v := range values {
			expr, isExpr := strings.CutPrefix(v, "~*")
			if isExpr && naiveRegexp(t, "(?i)"+expr).MatchString(f.Value) || strings.EqualFold(v, f.Value) {
				return true
			}
		}
	}
	return false
}

func naiveRegexp(t *testing.T, expr string) *regexp.Regexp {
	re, err := regexp.Compile(expr)
	if err != nil {
		t.Fatal(err)
	}
	return re
}

// What random routes and requests are made of: small sets, so that they meet.
var (
	randomMethods = []string{"GET", "POST", "PUT", "PURGE"} // the last is not well known
	randomHosts   = []string{
		"a.test", "b.a.test", "c.b.a.test", "test", "A.Test", "*.a.test", "*.test", "*.b.a.test", "a.*", "b.a.*", "b.*",
		"a.test:80", "a.test:81", "*.a.test:81", "a.*:80", "b.a.test:81", "::1", "[::1]:81", "[::1]",
	}
	randomNames = []string{"a.test", "b.a.test", "c.b.a.test", "d.b.a.test", "a.b", "b.test", "b.a.c", "test", "", "x", "[::1]"}
	randomPaths = []string{
		"/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/abc", "/b", "/b/a", "/é", "/a/b/cd", "/c",
		`~/a`, `~/a/\w+`, `~/a/b(/c)?`, `~/[ab]`, `~/(?<x>a|b)/(?<y>.)`, `~/.*c`, `~/a|/b`, `~(?i)/A/B`, `~/a/b/c$`, `~/.`,
	}
	randomTails  = []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/cd", "/abc", "/b", "/b/a/c", "/é/a", "/d", "/c", "/A/B", "/a//", "*"}
	randomHeader = []struct {
		name   string
		values []string
	}{{"x-a", []string{"1", "2", "Two", "~*^t", "~*[3-5]"}}, {"x-b", []string{"1", "y", "~*y|z"}}, {"user_agent", []string{"curl", "~*^C"}}}
	randomValues = []string{"1", "2", "TWO", "tree", "4", "y", "z", "curl", ""}
	randomSNIs   = []string{"a.test", "*.a.test", "b.*", "B.A.test"}
)

// some returns none, or up to most distinct elements of set.
func some[T any](rnd *rand.Rand, set []T, share float64, most int) (out []T) {
	if rnd.Float64() >= share {
		return nil
	}
	for _, i := range rnd.Perm(len(set))[:1+rnd.IntN(most)] {
		out = append(out, set[i])
	}
	return out
}

func one[T any](rnd *rand.Rand, set []T) T { return set[rnd.IntN(len(set))] }

func randomRoutes(rnd *rand.Rand) []config.Route {
	routes := make([]config.Route, 1+rnd.IntN(24))
	for i := range routes {
		routes[i] = randomRoute(rnd, fmt.Sprint(i))
	}
	return routes
}

func randomRoute(rnd *rand.Rand, name string) config.Route {
	r := config.Route{
		Name:          name,
		Methods:       some(rnd, randomMethods, 0.3, 2),
		Hosts:         some(rnd, randomHosts, 0.6, 3),
		Paths:         some(rnd, randomPaths, 0.7, 5),
		SNIs:          some(rnd, randomSNIs, 0.15, 2),
		RegexPriority: rnd.IntN(4) - 1,
		CreatedAt:     config.Timestamp(rnd.IntN(3)),
	}
	for _, h := range randomHeader {
		if v := some(rnd, h.values, 0.15, 2); v != nil {
			if r.Headers == nil {
				r.Headers = map[string][]string{}
			}
			r.Headers[h.name] = v
		}
	}
	return r
}

func randomQuery(rnd *rand.Rand) *Query {
	q := &Query{
		Method: one(rnd, randomMethods), Host: one(rnd, randomNames), Port: uint16(80 + rnd.IntN(3)), Path: one(rnd, randomTails),
		Header: new(Header), SNI: one(rnd, randomNames), HTTPS: rnd.IntN(2) == 0,
	}
	for range rnd.IntN(4) {
		q.Header.Add(one(rnd, []string{"X-A", "X_A", "x-b", "User-Agent", "X-C"}), one(rnd, randomValues))
	}
	return q
}

func TestRouterAgreesWithNaiveReading(t *testing.T) {
	const sets, queries = 1000, 40
	found := 0
	for seed := range uint64(sets) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		entities := randomRoutes(rnd)
		router := newTestRouter(t, entities)
		var m Match
		for range queries {
			q := randomQuery(rnd)
			want := naiveMatch(t, entities, q)
			ok := router.Match(q, &m)
			switch {
			case !ok && want == nil:
				continue
			case ok != (want != nil):
				t.Fatalf("seed %d, %+v, header %v: found %v; want %+v", seed, q, q.Header.Fields(), ok, want)
			case m.Route.Entity != &entities[want.route] || m.Matched != want.matched || !slices.Equal(m.Captures, want.groups):
				t.Fatalf("seed %d, %+v, header %v:\nfound %+v by %q, %v\nwant  %+v by %q, %v", seed, q, q.Header.Fields(),
					*m.Route.Entity, m.Matched, m.Captures, entities[want.route], want.matched, want.groups)
			}
			found++
		}
	}
	if found < sets*queries/4 || found > sets*queries*19/20 {
		t.Errorf("%d of %d requests found a route: the sets test little", found, sets*queries)
	}
}

// The same routes in another order give the same answers, but for ties.
func TestRouterDependsOnOrderForTiesOnly(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		entities := randomRoutes(rnd)
		for i := range entities {
			entities[i].CreatedAt = config.Timestamp(i + 1)
			entities[i].Hosts = slices.DeleteFunc(entities[i].Hosts, func(h string) bool { return strings.Contains(h, ":") })
		}
		shuffled := slices.Clone(entities)
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		a, b := newTestRouter(t, entities), newTestRouter(t, shuffled)
		var ma, mb Match
		for range 40 {
			q := randomQuery(rnd)
			if a.Match(q, &ma) != b.Match(q, &mb) {
				t.Fatalf("seed %d, %+v: one order finds a route", seed, q)
			}
			if ma.Route == nil {
				continue
			}
			if diff := gocmp.Diff(ma.Route.Entity.Name, mb.Route.Entity.Name); diff != "" || ma.Matched != mb.Matched {
				t.Fatalf("seed %d, %+v: %s by %q and %q", seed, q, diff, ma.Matched, mb.Matched)
			}
		}
	}
}
