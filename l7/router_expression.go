package l7

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/expr"
)

// expressionBits lift the priority of an expression, which has 46 bits, over
// those of all routes with match fields, as in Kong.
const expressionBits uint64 = 0xff << 56

// addExpression compiles a route with an expression, of which r has what all
// routes have. What the expression
// implies of host and path is where the route is found; the expression itself
// is asked at the end, whole.
func (rc *ruleCompiler) addExpression(e *config.Route, r rule) error {
	text, err := e.ParsedExpression()
	if err != nil {
		return fmt.Errorf("parsing the expression: %w", err)
	}
	r.priority = expressionBits | uint64(e.Priority)
	r.when = &conditions{expression: text, plainOnly: rc.plainOnly(e)}
	r.hosts = expressionHosts(text.Hosts())
	prefixes := text.PathPrefixes()
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	for _, prefix := range prefixes {
		r.paths = append(r.paths, rulePath{prefix: prefix})
	}
	rc.rules = append(rc.rules, r)
	return nil
}

// plainOnly reports whether TLS connections are kept from the route. With
// expressions Kong adds the protocols to what a route matches, but for https
// alone, so that plain requests can be sent there. By the match fields alone
// protocols take no part.
func (rc *ruleCompiler) plainOnly(e *config.Route) bool {
	return rc.flavor == config.FlavorExpressions &&
		slices.Contains(e.Protocols, config.HTTP) && !slices.Contains(e.Protocols, config.HTTPS)
}

// expressionHosts returns the patterns under which a route is found whose host
// is one of those given. A beginning or an end is rounded down to whole labels.
func expressionHosts(hosts []expr.Host) []hostPattern {
	if len(hosts) == 0 {
		return anyHost
	}
	patterns := make([]hostPattern, 0, len(hosts))
	for _, h := range hosts {
		p := hostPattern{kind: hostExact, text: h.Text, port: anyPort}
		switch h.Form {
		case expr.HostBegins:
			p.kind, p.text = hostPrefix, h.Text[:strings.LastIndexByte(h.Text, '.')+1]
		case expr.HostEnds:
			p.kind, p.text = hostSuffix, h.Text[max(strings.IndexByte(h.Text, '.'), 0):]
			if p.text[0] != '.' {
				return anyHost
			}
		}
		if p.text == "" {
			return anyHost
		}
		if !slices.Contains(patterns, p) {
			patterns = append(patterns, p)
		}
	}
	return patterns
}

// fields returns q as expressions see it.
func (q *Query) fields() expr.Fields {
	f := expr.Fields{
		Protocol: "http", Method: q.Method, Host: q.Host, Path: q.Path, Query: q.Args,
	}
	if q.Conn != nil {
		f.Source, f.Destination = q.Conn.Client, netip.AddrPortFrom(q.Conn.Local.Addr(), q.Port)
	}
	if q.HTTPS {
		f.Protocol, f.SNI = "https", q.SNI
	}
	if q.Header != nil {
		f.Header = (*headerValues)(q.Header)
	}
	return f
}

// headerValues is a Header as expressions see it.
type headerValues Header

var _ expr.Header = (*headerValues)(nil)

// Next implements expr.Header.
func (h *headerValues) Next(name string, from int) (value string, next int, ok bool) {
	for i := from; i < len(h.fields); i++ {
		if f := &h.fields[i]; len(f.Name) == len(name) && sameFieldName(f.Name, name) {
			return f.Value, i + 1, true
		}
	}
	return "", len(h.fields), false
}

// fillExpression makes m the match of an expression.
func fillExpression(m *Match, e *expr.Expr, f *expr.Fields) {
	p := e.MatchPath(f)
	m.Matched = p.Matched
	if p.Pattern == nil {
		return
	}
	loc := p.Pattern.FindStringSubmatchIndex(p.Text)
	m.addCaptures(p.Pattern.SubexpNames(), loc, p.Text)
}
