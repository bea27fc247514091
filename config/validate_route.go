package config

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/config/expr"
	"github.com/bulwark-edge/bulwark/config/schema"
)

var (
	_ schema.Validator = (*Route)(nil)
	_ schema.Validator = (*StreamAddress)(nil)
)

// Validate checks that the route matches something and that its attributes fit
// its protocols.
func (r *Route) Validate(rep *schema.Report) {
	if rep.Bad("protocols") {
		return
	}
	if groups := protocolGroups(r.Protocols); len(groups) > 1 {
		rep.Fail("these sets are mutually exclusive: "+strings.Join(groups, ", "), "protocols")
		return
	}
	if r.GRPC() {
		if r.StripPath && rep.Given("strip_path") {
			rep.Fail("cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'", "strip_path")
		}
		r.StripPath = false
	}
	if r.Expression != "" {
		r.validateExpression(rep)
		return
	}
	r.refuseForeign(rep)
	if len(r.SNIs) > 0 && !slices.ContainsFunc(r.Protocols, Protocol.overTLS) {
		rep.Fail("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'", "snis")
	}
	attributes, missing := r.attributes()
	if r.hasMatchFields() {
		if r.Priority != 0 {
			rep.Fail(reasonExpression+"cannot set 'priority' with "+matchFields+" simultaneously", "priority")
		}
		return
	}
	if slices.ContainsFunc(attributes, rep.Bad) || rep.Bad("expression") {
		return
	}
	rep.Fail(missing)
}

// refuseForeign reports fields that the route's protocols do not have.
func (r *Route) refuseForeign(rep *schema.Report) {
	refuse := func(field string, n int, protocols string) {
		if n > 0 && !rep.Bad(field) {
			rep.Fail("cannot set '"+field+"' when 'protocols' is "+protocols, field)
		}
	}
	if r.Stream() {
		const streams = "'tcp', 'tls', 'tls_passthrough' or 'udp'"
		refuse("methods", len(r.Methods), streams)
		refuse("hosts", len(r.Hosts), streams)
		refuse("paths", len(r.Paths), streams)
		refuse("headers", len(r.Headers), streams)
		return
	}
	protocols := "'http' or 'https'"
	if r.GRPC() {
		protocols = "'grpc' or 'grpcs'"
		refuse("methods", len(r.Methods), protocols)
	}
	refuse("sources", len(r.Sources), protocols)
	refuse("destinations", len(r.Destinations), protocols)
}

// attributes returns the match fields of the route's protocols, and what Kong
// says if none of them is set.
func (r *Route) attributes() (fields []string, missing string) {
	protocols := "'http'"
	switch {
	case slices.Contains(r.Protocols, TLSPassthrough):
		return []string{"snis"}, "must set snis when 'protocols' is 'tls_passthrough'"
	case r.Stream():
		fields, protocols = []string{"sources", "destinations", "snis"}, "'tcp', 'tls' or 'udp'"
	case slices.Contains(r.Protocols, GRPCS):
		fields, protocols = []string{"hosts", "headers", "paths", "snis"}, "'grpcs'"
	case slices.Contains(r.Protocols, GRPC):
		fields, protocols = []string{"hosts", "headers", "paths"}, "'grpc'"
	case slices.Contains(r.Protocols, HTTPS):
		fields, protocols = []string{"methods", "hosts", "headers", "paths", "snis"}, "'https'"
	default:
		fields = []string{"methods", "hosts", "headers", "paths"}
	}
	return fields, "must set one of '" + strings.Join(fields, "', '") + "' when 'protocols' is " + protocols
}

// hasMatchFields reports whether the route says without an expression what it
// wants. Passthrough needs a name.
func (r *Route) hasMatchFields() bool {
	if r.Expression == "" && slices.Contains(r.Protocols, TLSPassthrough) {
		return len(r.SNIs) > 0
	}
	return len(r.Methods)+len(r.Hosts)+len(r.Headers)+len(r.Paths)+len(r.SNIs)+len(r.Sources)+len(r.Destinations) > 0
}

// Validate checks that there is an address or a port.
func (a *StreamAddress) Validate(r *schema.Report) {
	if a.IP == nil && a.Port == nil && !r.Bad("ip") && !r.Bad("port") {
		r.Fail("at least one of these fields must be non-empty: 'ip', 'port'")
	}
}

// Kong's words about expressions.
const (
	reasonExpression = "Router Expression failed validation: "
	matchFields      = "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations'"
)

// validateExpression checks and compiles the expression of a route that has
// one. It stands alone.
func (r *Route) validateExpression(rep *schema.Report) {
	switch {
	case r.hasMatchFields():
		rep.Expect(reasonExpression+"cannot set 'expression' with "+matchFields+" simultaneously", "either an expression or the other fields", "expression")
	case r.RegexPriority != 0:
		rep.Expect(reasonExpression+"cannot set 'regex_priority' with 'expression' simultaneously", "'priority'", "regex_priority")
	case r.PathHandling == V1:
		rep.Expect("v1 does not work with an expression", string(V0), "path_handling")
	}
	e, err := expr.Parse(r.Expression)
	var bad *expr.Error
	if errors.As(err, &bad) {
		expected := bad.Expected
		if near := schema.Nearest(bad.Field, expr.FieldNames()); near != "" {
			expected = schema.Quote(near)
		}
		rep.Expect(reasonExpression+"line "+strconv.Itoa(bad.Line)+", column "+strconv.Itoa(bad.Column)+": "+bad.Reason+", found "+bad.Found, expected, "expression")
		return
	}
	if name := e.HTTPField(); name != "" && r.Stream() {
		rep.Expect(reasonExpression+"streams have no field "+schema.Quote(name), "the fields tls.sni and net.*", "expression")
		return
	}
	r.parsed = e
}

// protocolGroups returns the groups of protocols, of which a route may use one,
// in the way Kong prints them.
func protocolGroups(protocols []Protocol) []string {
	groups := [...]struct {
		members []Protocol
		text    string
	}{
		{[]Protocol{HTTP, HTTPS}, "('http', 'https')"},
		{[]Protocol{TCP, TLS, UDP}, "('tcp', 'tls', 'udp')"},
		{[]Protocol{TLSPassthrough}, "('tls_passthrough')"},
		{[]Protocol{GRPC, GRPCS}, "('grpc', 'grpcs')"},
	}
	var used []string
	for _, p := range protocols {
		for _, g := range groups {
			if slices.Contains(g.members, p) && !slices.Contains(used, g.text) {
				used = append(used, g.text)
			}
		}
	}
	return used
}
