package config

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/config/expr"
	"github.com/bulwark-edge/bulwark/config/schema"
)

var (
	_ schema.Validator = (*Service)(nil)
	_ schema.Validator = (*Route)(nil)
	_ schema.Validator = (*Target)(nil)
	_ schema.Validator = (*ActiveCheck)(nil)
	_ schema.Validator = (*Consumer)(nil)
	_ schema.Validator = (*Plugin)(nil)
	_ schema.Validator = (*Certificate)(nil)
	_ schema.Validator = (*CACertificate)(nil)
	_ schema.Validator = (*Node)(nil)
	_ schema.Validator = (*Limits)(nil)
)

// Validate checks that fields of TLS are used only with https.
func (s *Service) Validate(r *schema.Report) {
	s.Host = strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
	if r.Bad("protocol") || s.Protocol == HTTPS {
		return
	}
	for _, field := range [...]string{"client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates"} {
		if r.Given(field) {
			r.Expect(schema.ReasonNull, "no value unless 'protocol' is 'https'", field)
		}
	}
}

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
	if r.Expression != "" {
		r.validateExpression(rep)
		return
	}
	attributes := []string{"methods", "hosts", "headers", "paths"}
	protocol := HTTP
	if slices.Contains(r.Protocols, HTTPS) {
		protocol = HTTPS
		attributes = append(attributes, "snis")
	} else if len(r.SNIs) > 0 {
		rep.Fail("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'", "snis")
	}
	if r.hasMatchFields() {
		if r.Priority != 0 {
			rep.Fail(reasonExpression+"cannot set 'priority' with "+matchFields+" simultaneously", "priority")
		}
		return
	}
	if slices.ContainsFunc(attributes, rep.Bad) || rep.Bad("expression") {
		return
	}
	rep.Fail("must set one of '" + strings.Join(attributes, "', '") + "' when 'protocols' is '" + string(protocol) + "'")
}

func (r *Route) hasMatchFields() bool {
	return len(r.Methods)+len(r.Hosts)+len(r.Headers)+len(r.Paths)+len(r.SNIs) > 0
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

// defaultTargetPort is the port of a target that has none.
const defaultTargetPort = 8000

// Validate writes the target in full.
func (t *Target) Validate(*schema.Report) {
	h, problem := schema.ParseHost(t.Target)
	if problem != nil || t.Target == "" {
		return // reported by the field's own check
	}
	if !h.HasPort {
		h.Port, h.HasPort = defaultTargetPort, true
	}
	t.Target, t.host, t.port = h.String(), h.Name, h.Port
}

// Validate checks that the header fields of a probe leave its framing alone.
func (c *ActiveCheck) Validate(r *schema.Report) {
	for name := range c.Headers {
		switch strings.ToLower(name) {
		case "connection", "content-length", "transfer-encoding", "upgrade", "expect":
			r.Expect("a probe has no content and closes its connection", "a field other than Connection, Content-Length, Transfer-Encoding, Upgrade and Expect", "headers", name)
		}
	}
}

// Validate checks that the consumer has a name.
func (c *Consumer) Validate(r *schema.Report) {
	if c.Username == "" && c.CustomID == "" && !r.Bad("username") && !r.Bad("custom_id") {
		r.Fail("at least one of these fields must be non-empty: 'custom_id', 'username'")
	}
}

// Validate checks that the plugin can run on something.
func (p *Plugin) Validate(r *schema.Report) {
	if !slices.Contains(p.Protocols, HTTP) && !slices.Contains(p.Protocols, HTTPS) {
		r.Expect(schema.ReasonUnserved, "http or https among the protocols", "protocols")
	}
}

// Validate checks what concerns several listeners, and the header tokens.
func (n *Node) Validate(r *schema.Report) {
	if len(n.Headers) > 1 && slices.Contains(n.Headers, "off") {
		r.Expect("'off' excludes all other tokens", "[off] alone", "headers")
	}
	names := make(map[string]int)
	addresses := make(map[Address]int)
	for i, l := range n.Listeners {
		if first, taken := names[l.Name]; taken && l.Name != "" {
			r.Fail("the name is used by listener "+ordinal(first)+" already", "listeners", i, "name")
		} else {
			names[l.Name] = i
		}
		if l.Address.Off {
			r.Expect("expected an address and a port", "a listener with an address, or none at all", "listeners", i, "address")
			continue
		}
		if l.Address.Port == 0 {
			continue // the system gives each its own port
		}
		if first, taken := addresses[l.Address]; taken {
			r.Fail("the address is used by listener "+ordinal(first)+" already", "listeners", i, "address")
		} else {
			addresses[l.Address] = i
		}
	}
	if i, taken := addresses[n.Status]; taken && n.Status.Port != 0 {
		at := cmp.Or(n.Listeners[i].Name, ordinal(i))
		r.Fail("the address is used by listener "+schema.Quote(at)+" already", "status")
	}
}

func ordinal(i int) string { return strconv.Itoa(i + 1) }

// Validate checks that the request target fits into the head.
func (l *Limits) Validate(r *schema.Report) {
	if l.TargetBytes > l.HeadBytes && !r.Bad("target_bytes") && !r.Bad("head_bytes") {
		field := "target_bytes"
		if !r.Given(field) {
			field = "head_bytes"
		}
		r.Fail("'target_bytes' ("+l.TargetBytes.String()+") cannot be greater than 'head_bytes' ("+l.HeadBytes.String()+")", field)
	}
}
