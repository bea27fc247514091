package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

var (
	_ schema.Validator = (*Service)(nil)
	_ schema.Validator = (*Target)(nil)
	_ schema.Validator = (*ActiveCheck)(nil)
	_ schema.Validator = (*Consumer)(nil)
	_ schema.Validator = (*Certificate)(nil)
	_ schema.Validator = (*CACertificate)(nil)
	_ schema.Validator = (*Node)(nil)
	_ schema.Validator = (*Limits)(nil)
	_ schema.Validator = (*Log)(nil)
)

// Validate checks that a path and the fields of TLS are used only with
// protocols that have them.
func (s *Service) Validate(r *schema.Report) {
	s.Host = strings.TrimSuffix(strings.TrimPrefix(s.Host, "["), "]")
	if r.Bad("protocol") {
		return
	}
	if (s.Protocol.Stream() || s.SpeaksHTTP2()) && s.Path != "" {
		r.Expect(schema.ReasonNull, "no value, since 'protocol' is '"+string(s.Protocol)+"'", "path")
	}
	if s.SpeaksTLS() {
		return
	}
	for _, field := range [...]string{"client_certificate", "tls_verify", "tls_verify_depth", "ca_certificates"} {
		if r.Given(field) {
			r.Expect(schema.ReasonNull, "no value unless 'protocol' is 'https', 'grpcs' or 'tls'", field)
		}
	}
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

// maxProbePayload bounds what a UDP probe sends and expects, in bytes: what
// passes every link without being cut, as the least MTU of IPv6 is 1280 (RFC 8200
// section 5) and its headers and that of UDP take 48.
const maxProbePayload = 1232

// Validate checks that a UDP probe has something to send and no other has, and
// that the header fields of a probe leave its framing alone.
func (c *ActiveCheck) Validate(r *schema.Report) {
	if c.Type == ProbeUDP && c.UDPSend == "" && !r.Bad("udp_send") && !r.Bad("type") {
		r.Expect(schema.ReasonRequired, "the payload that a probe of type udp sends", "udp_send")
	}
	for _, f := range [...]struct {
		name  string
		bytes schema.Hex
	}{{"udp_send", c.UDPSend}, {"udp_expect", c.UDPExpect}} {
		switch {
		case c.Type != ProbeUDP && f.bytes != "" && !r.Bad("type"):
			r.Expect("is of no use to a probe of type "+c.Type, "the type udp beside it", f.name)
		case len(f.bytes) > maxProbePayload:
			r.Fail(fmt.Sprintf("length must be at most %d bytes", maxProbePayload), f.name)
		}
	}
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

// Validate checks what concerns several listeners, and the header tokens.
func (n *Node) Validate(r *schema.Report) {
	if len(n.Headers) > 1 && slices.Contains(n.Headers, "off") {
		r.Expect("'off' excludes all other tokens", "[off] alone", "headers")
	}
	names := make(map[string]int)
	type socket struct {
		Address
		udp bool
	}
	addresses := make(map[socket]int)
	for i, l := range n.Listeners {
		if first, taken := names[l.Name]; taken && l.Name != "" {
			r.Fail("the name is used by listener "+ordinal(first)+" already", "listeners", i, "name")
		} else {
			names[l.Name] = i
		}
		n.TLS.checkListener(r, i, &l)
		l.checkVersions(r, i)
		if l.Address.Off {
			r.Expect("expected an address and a port", "a listener with an address, or none at all", "listeners", i, "address")
			continue
		}
		if l.Address.Port == 0 {
			continue // the system gives each its own port
		}
		at := socket{l.Address, l.Serve == ServeUDP}
		if first, taken := addresses[at]; taken {
			r.Fail("the address is used by listener "+ordinal(first)+" already", "listeners", i, "address")
		} else {
			addresses[at] = i
		}
	}
	if i, taken := addresses[socket{Address: n.Status}]; taken && n.Status.Port != 0 {
		at := cmp.Or(n.Listeners[i].Name, ordinal(i))
		r.Fail("the address is used by listener "+schema.Quote(at)+" already", "status")
	}
}

// checkVersions checks which versions of HTTP listener i speaks.
func (l *Listener) checkVersions(r *schema.Report, i int) {
	for _, v := range []struct {
		field  string
		spoken bool
	}{{"http1", l.HTTP1}, {"http2", l.HTTP2}} {
		if !v.spoken && l.Serve != ServeHTTP {
			r.Expect("only 'serve: http' can go without it", "no value; over TLS the policy's alpn says which versions are spoken", "listeners", i, v.field)
		}
	}
	if !l.HTTP1 && !l.HTTP2 && l.Serve == ServeHTTP {
		r.Expect("no version of HTTP is left", "true for http1 or http2", "listeners", i, "http2")
	}
}

func ordinal(i int) string { return strconv.Itoa(i + 1) }

// Validate checks that the audit log has a file of its own: it is for the owner
// alone to read, which the other logs are not.
func (l *Log) Validate(r *schema.Report) {
	if l.WAFAudit == LogOff || l.WAFAudit == LogStdout {
		return
	}
	for _, other := range [...]struct{ name, path string }{{"access", l.Access}, {"waf", l.WAF}} {
		if filepath.Clean(l.WAFAudit) == filepath.Clean(other.path) {
			r.Fail("the file is that of '"+other.name+"' already, which more may read than the audit log", "waf_audit")
			return
		}
	}
}

// Validate checks that the request target fits into the head, and a stream's
// window into the connection's.
func (l *Limits) Validate(r *schema.Report) {
	if l.HTTP2StreamWindow > l.HTTP2Window && !r.Bad("http2_stream_window") && !r.Bad("http2_window") {
		field := "http2_stream_window"
		if !r.Given(field) {
			field = "http2_window"
		}
		r.Fail("'http2_stream_window' ("+l.HTTP2StreamWindow.String()+") cannot be greater than 'http2_window' ("+l.HTTP2Window.String()+")", field)
	}
	if l.TargetBytes > l.HeadBytes && !r.Bad("target_bytes") && !r.Bad("head_bytes") {
		field := "target_bytes"
		if !r.Given(field) {
			field = "head_bytes"
		}
		r.Fail("'target_bytes' ("+l.TargetBytes.String()+") cannot be greater than 'head_bytes' ("+l.HeadBytes.String()+")", field)
	}
}
