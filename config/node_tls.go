package config

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// NodeTLS says how TLS is spoken with clients.
type NodeTLS struct {
	Policies []TLSPolicy    `json:"policies" default:"[]" len_max:"100" doc:"Named policies, beside those that are always there: modern and intermediate."`
	Default  string         `json:"default" default:"intermediate" check:"name" doc:"Policy of listeners that name none: one of policies, modern or intermediate."`
	Tickets  SessionTickets `json:"session_tickets" doc:"Tickets by which clients resume sessions."`
	Stapling bool           `json:"ocsp_stapling" default:"false" doc:"Whether certificates that name an OCSP server are shown with its answer. It is fetched in the background; without one the certificate is shown alone."`
	LocalCA  LocalCA        `json:"local_ca" doc:"An authority of this machine, for names of development."`
	ECH      ECH            `json:"ech" doc:"Encrypted Client Hello (RFC 9849), which hides server names on the way."`
}

// Names of policies that are always there, and values of TLSPolicy.Base.
const (
	TLSModern       = "modern"
	TLSIntermediate = "intermediate"
)

// Values of TLSPolicy.MinVersion and MaxVersion.
const (
	TLSv12 = "TLSv1.2"
	TLSv13 = "TLSv1.3"
)

// TLSPolicy says which TLS is spoken, and what is asked of clients.
type TLSPolicy struct {
	Name       string     `json:"name" required:"true" check:"name" doc:"Unique name, by which listeners choose the policy."`
	Base       string     `json:"base" default:"intermediate" enum:"modern,intermediate" doc:"What counts where this policy says nothing, by Mozilla's guidelines (version 5.7): modern, TLS 1.3 only; intermediate, TLS 1.2 too with suites that have forward secrecy and authenticated encryption."`
	MinVersion string     `json:"min_version" enum:"TLSv1.2,TLSv1.3" doc:"Oldest version that is spoken; null means that of base."`
	MaxVersion string     `json:"max_version" default:"TLSv1.3" enum:"TLSv1.2,TLSv1.3" doc:"Newest version that is spoken. At least min_version."`
	Ciphers    []string   `json:"ciphers" default:"[]" unique:"true" enum:"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA" doc:"Suites of TLS 1.2, by their IANA names; none means those of base. Which of them is taken is settled by what both sides are fast at, not by this order. TLS 1.3 always has all of its own."`
	Curves     []string   `json:"curves" default:"[X25519MLKEM768, X25519, P-256, P-384]" unique:"true" len_min:"1" enum:"X25519MLKEM768,SecP256r1MLKEM768,SecP384r1MLKEM1024,X25519,P-256,P-384,P-521" doc:"Key exchanges. Those with ML-KEM, which withstand quantum computers, are preferred and only for TLS 1.3; the order here does not count."`
	ALPN       []string   `json:"alpn" default:"[h2, http/1.1]" unique:"true" enum:"h2,http/1.1" doc:"Protocols of HTTPS that are agreed upon by ALPN, the best first; none lets ALPN be. Streams never agree upon one."`
	SNIs       []string   `json:"snis" default:"[]" check:"wildcard_host" unique:"true" len_max:"1000" vault:"false" doc:"Server names for which this policy counts in place of the listener's; may have a wildcard as the first or last label."`
	ClientAuth ClientAuth `json:"client_auth" doc:"What is asked of clients by way of a certificate."`
}

// ClientAuth says what a policy asks of clients.
type ClientAuth struct {
	Mode           string `json:"mode" default:"off" enum:"off,request,require" doc:"off; request, where any certificate or none is taken, for plugins and upstreams to judge; require, where the handshake fails without a certificate from the authorities."`
	CACertificates []ID   `json:"ca_certificates" default:"[]" len_max:"1000" doc:"Ids of the ca_certificates that a client's certificate must come from. With require, these or ca_pem."`
	CAPEM          string `json:"ca_pem" pem:"true" doc:"Further authorities, as certificates in PEM form; mostly a {vault://file/...}."`
	SendCADN       bool   `json:"send_ca_dn" default:"false" doc:"Whether clients are told the names of the authorities, so that they can choose among their certificates."`

	Depth             *int            `json:"depth" min:"0" max:"64" doc:"Most intermediates between a client's certificate and an authority; null: as many as a chain has room for. This and what follows only with require."`
	AllowPartialChain bool            `json:"allow_partial_chain" default:"false" doc:"Whether an intermediate among the authorities is enough, without its root."`
	Revocation        string          `json:"revocation" default:"ignore_ca_error" enum:"skip,ignore_ca_error,strict" doc:"Whether it is asked if a certificate was revoked, in CRLs and by OCSP, and what becomes of one of which that cannot be learned: ignore_ca_error lets it in, strict does not."`
	CRLFiles          []string        `json:"crl_files" default:"[]" len_max:"100" doc:"Paths of revocation lists, DER or PEM, which are read again when they change."`
	CRLPEM            string          `json:"crl_pem" pem:"true" doc:"Further revocation lists in PEM form."`
	RevocationTimeout schema.Duration `json:"revocation_timeout" default:"5s" min:"10ms" max:"30s" doc:"How long OCSP and CRL servers are asked about a client, all of its certificates together. The handshake waits for it, for at most node.limits.header_timeout."`
	OCSPTTL           schema.Duration `json:"ocsp_ttl" default:"1m" min:"1s" max:"24h" doc:"How long an answer of an OCSP server counts, at most."`
	OCSPNonce         bool            `json:"ocsp_nonce" default:"false" doc:"Whether an answer must have been made for the question (RFC 9654), which servers that sign ahead do not give."`
	AllowSANs         []string        `json:"allow_sans" default:"[]" len_max:"1000" doc:"Clients that are let in, by a subject alternative name: dns:, email:, uri: or ip: and a pattern, in which * stands for anything but a separator and ** for anything; none: all. Of allow_sans, allow_issuers and allow_spiffe, each that is given must match."`
	AllowIssuers      []string        `json:"allow_issuers" default:"[]" len_max:"1000" doc:"Distinguished names of authorities, such as CN=Clients CA,O=Example, one of which must stand in the verified chain; none: any."`
	AllowSPIFFE       []string        `json:"allow_spiffe" default:"[]" len_max:"1000" doc:"SPIFFE ids that are let in, as patterns such as spiffe://example.org/ns/*/web; none: all."`

	cas []*x509.Certificate
}

// Values of ClientAuth.Revocation.
const (
	RevocationSkip        = "skip"
	RevocationIgnoreError = "ignore_ca_error"
	RevocationStrict      = "strict"
)

// Values of ClientAuth.Mode.
const (
	ClientAuthOff     = "off"
	ClientAuthRequest = "request"
	ClientAuthRequire = "require"
)

// CAs returns the authorities of CAPEM.
func (a *ClientAuth) CAs() []*x509.Certificate { return a.cas }

// SessionTickets says how sessions are resumed.
type SessionTickets struct {
	Enabled bool            `json:"enabled" default:"true" doc:"Whether clients get a ticket to resume their session by."`
	Rotate  schema.Duration `json:"rotate" default:"12h" min:"1m" max:"168h" doc:"How long new tickets are made with one key. A ticket is good for at least that time, and for less than twice of it."`
	Secret  schema.Secret   `json:"secret" doc:"What the keys are derived from, 32 characters or more that nobody can guess. Nodes with the same one, the same rotate and the same policies take each other's tickets; null means one of this process, which reloads keep and restarts do not."`
}

// ECH says how hellos are encrypted.
type ECH struct {
	PublicName string          `json:"public_name" check:"sni" doc:"Server name that hellos show in clear; we must have a certificate for it. Null: hellos are not encrypted."`
	Secret     schema.Secret   `json:"secret" doc:"What the keys are derived from, 32 characters or more that nobody can guess. Nodes with the same one, the same public_name and the same rotate have the same keys; null means one of this process, which reloads keep and restarts do not."`
	Rotate     schema.Duration `json:"rotate" default:"24h" min:"1h" max:"8760h" doc:"How long one key is offered; the one before it is good for as long again. The record in DNS must follow (see /status)."`
}

var (
	_ schema.Validator = (*NodeTLS)(nil)
	_ schema.Validator = (*TLSPolicy)(nil)
	_ schema.Validator = (*ClientAuth)(nil)
	_ schema.Validator = (*SessionTickets)(nil)
	_ schema.Validator = (*ECH)(nil)
)

// Validate checks that names are unique and known.
func (t *NodeTLS) Validate(r *schema.Report) {
	names, snis := make(map[string]int), make(map[string]int)
	for i := range t.Policies {
		p := &t.Policies[i]
		switch first, taken := names[p.Name]; {
		case p.Name == TLSModern || p.Name == TLSIntermediate:
			r.Expect("the name is that of a policy that is always there", "another name", "policies", i, "name")
		case taken && p.Name != "":
			r.Fail("the name is used by policy "+ordinal(first)+" already", "policies", i, "name")
		default:
			names[p.Name] = i
		}
		for j, sni := range p.SNIs {
			if first, taken := snis[sni]; taken {
				r.Fail("the server name has policy "+schema.Quote(t.Policies[first].Name)+" already", "policies", i, "snis", j)
			} else {
				snis[sni] = i
			}
		}
	}
	if !t.has(t.Default) && !r.Bad("default") && !r.Bad("policies") {
		r.Expect("there is no policy of this name", t.expected(), "default")
	}
}

// has reports whether there is a policy of a name.
func (t *NodeTLS) has(name string) bool {
	return name == TLSModern || name == TLSIntermediate ||
		slices.ContainsFunc(t.Policies, func(p TLSPolicy) bool { return p.Name == name })
}

// expected says which policies there are.
func (t *NodeTLS) expected() string {
	names := []string{TLSIntermediate, TLSModern}
	for i := range t.Policies {
		names = append(names, t.Policies[i].Name)
	}
	return "one of: " + strings.Join(names, ", ")
}

// checkListener checks the policy of listener i.
func (t *NodeTLS) checkListener(r *schema.Report, i int, l *Listener) {
	switch {
	case l.TLS == "" || r.Bad("tls"):
	case l.Serve != ServeHTTPS && l.Serve != ServeTLS:
		r.Expect(schema.ReasonNull, "no value unless 'serve' is 'https' or 'tls'", "listeners", i, "tls")
	case !t.has(l.TLS):
		r.Expect("there is no policy of this name", t.expected(), "listeners", i, "tls")
	}
}

// Validate fills in what follows from the base, writes server names in lower
// case, and checks that nothing is given in vain.
func (p *TLSPolicy) Validate(r *schema.Report) {
	for i, name := range p.SNIs {
		name = strings.ToLower(name)
		if len(name) > 2 { // the root's dot is in no handshake
			name = strings.TrimSuffix(name, ".")
		}
		p.SNIs[i] = name
		if strings.HasPrefix(name, "*") && name != "*" && name[1] != '.' || strings.HasSuffix(name, "*") && name != "*" && name[len(name)-2] != '.' {
			r.Expect("a wildcard must be a whole label", "a pattern such as *.example.com", "snis", i)
		}
	}
	if p.MinVersion == "" {
		p.MinVersion = TLSv12
		if p.Base == TLSModern {
			p.MinVersion = TLSv13
		}
	}
	if r.Bad("min_version") || r.Bad("max_version") || r.Bad("base") {
		return
	}
	if p.MinVersion == TLSv13 && p.MaxVersion == TLSv12 {
		r.Fail("value is less than 'min_version', which is "+p.MinVersion, "max_version")
		return
	}
	if p.MinVersion == TLSv13 && len(p.Ciphers) > 0 {
		r.Expect("there is no choice of suites in TLS 1.3", "no value unless TLS 1.2 is spoken", "ciphers")
	}
	if p.MaxVersion == TLSv12 && !slices.ContainsFunc(p.Curves, classical) && !r.Bad("curves") {
		r.Expect("key exchanges with ML-KEM are for TLS 1.3 only", "one for TLS 1.2 too, such as X25519", "curves")
	}
}

// classical reports whether a key exchange is one for TLS 1.2 too.
func classical(curve string) bool { return !strings.Contains(curve, "MLKEM") }

// verifying are the fields of ClientAuth by which certificates are verified.
var verifying = [...]string{
	"depth", "allow_partial_chain", "revocation", "crl_files", "crl_pem", "revocation_timeout",
	"ocsp_ttl", "ocsp_nonce", "allow_sans", "allow_issuers", "allow_spiffe",
}

// Validate parses the authorities, and checks that there are some where they
// are needed.
func (a *ClientAuth) Validate(r *schema.Report) {
	a.cas = nil
	if a.Mode == ClientAuthOff && !r.Bad("mode") {
		for _, field := range [...]string{"ca_certificates", "ca_pem", "send_ca_dn"} {
			if r.Given(field) {
				r.Expect(schema.ReasonNull, "no value unless 'mode' is 'request' or 'require'", field)
			}
		}
	}
	if a.Mode != ClientAuthRequire && !r.Bad("mode") {
		for _, field := range verifying {
			if r.Given(field) {
				r.Expect(schema.ReasonNull, "no value unless 'mode' is 'require'", field)
			}
		}
	}
	if a.Mode == ClientAuthOff {
		return
	}
	if a.CAPEM != "" {
		var problem string
		if a.cas, problem = parseCAs(a.CAPEM); problem != "" {
			r.Expect(problem, "certificates of authorities in PEM form", "ca_pem")
			return
		}
	}
	none := len(a.CACertificates) == 0 && a.CAPEM == ""
	if none && !r.Bad("ca_certificates") && !r.Bad("ca_pem") {
		switch {
		case a.Mode == ClientAuthRequire:
			r.Expect("no authority is given, so that nobody could be let in", "ca_certificates or ca_pem", "mode")
		case a.SendCADN:
			r.Expect("there are no names to send", "ca_certificates or ca_pem", "send_ca_dn")
		}
	}
}

// parseCAs reads certificates of authorities; what is no such certificate is an
// error, not passed over.
func parseCAs(text string) (cas []*x509.Certificate, problem string) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, "a PEM block of type " + block.Type + " stands among the certificates"
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, "invalid certificate: " + err.Error()
		}
		if !c.IsCA {
			return nil, "certificate " + strconv.Itoa(len(cas)+1) + " is not that of an authority"
		}
		cas = append(cas, c)
	}
	switch {
	case len(cas) == 0:
		return nil, "invalid certificate: no PEM block of type CERTIFICATE"
	case strings.Contains(string(rest), "-----BEGIN"):
		return nil, "invalid certificate: a PEM block is cut off"
	}
	return cas, ""
}

// minSecret is the least length of a secret that keys are derived from.
const minSecret = 32

func checkSecret(r *schema.Report, s schema.Secret) {
	if !s.Empty() && len(s.Reveal()) < minSecret {
		r.Expect("length must be at least "+strconv.Itoa(minSecret), "a text that nobody can guess, such as what 'openssl rand -base64 32' prints", "secret")
	}
}

// Validate checks that the secret is one.
func (s *SessionTickets) Validate(r *schema.Report) { checkSecret(r, s.Secret) }

// Validate checks that nothing is given in vain, and that the name is one that a
// hello may show.
func (e *ECH) Validate(r *schema.Report) {
	e.PublicName = strings.ToLower(e.PublicName)
	checkSecret(r, e.Secret)
	if e.PublicName != "" || r.Bad("public_name") {
		if len(e.PublicName) > 0 && (strings.HasSuffix(e.PublicName, ".") || lastLabelIsNumber(e.PublicName)) {
			r.Expect("invalid public name "+schema.Quote(e.PublicName), "a host name such as front.example.com", "public_name")
		}
		return
	}
	for _, field := range [...]string{"secret", "rotate"} {
		if r.Given(field) {
			r.Expect(schema.ReasonNull, "no value unless 'public_name' is set", field)
		}
	}
}

// lastLabelIsNumber reports whether a name could be read as an IPv4 address,
// which RFC 9849 section 4 forbids as a public name.
func lastLabelIsNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	return err == nil
}

// BuiltinTLSPolicies returns the policies that are always there.
func BuiltinTLSPolicies() []TLSPolicy {
	var all []TLSPolicy
	for _, name := range [...]string{TLSIntermediate, TLSModern} {
		p := *tlsPolicyType.New().(*TLSPolicy)
		p.Name, p.Base, p.MinVersion = name, name, TLSv12
		if name == TLSModern {
			p.MinVersion = TLSv13
		}
		all = append(all, p)
	}
	return all
}
