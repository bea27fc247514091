package config

import (
	"crypto/x509"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// ACME says which certificates are ordered, and from whom (RFC 8555).
type ACME struct {
	Domains    []string        `json:"domains" default:"[]" len_max:"20000" doc:"Names to order a certificate for, each its own: domains, wildcards such as '*.example.com', and IP addresses. Certificates of entities go before."`
	Email      string          `json:"email" doc:"Where the authority may write to."`
	Terms      bool            `json:"terms_accepted" default:"false" doc:"Whether you accept the terms of service of all authorities. Must be true for anything to be ordered."`
	CAs        []ACMECA        `json:"cas" default:"[{directory: 'https://acme-v02.api.letsencrypt.org/directory'}]" len_min:"1" len_max:"8" doc:"Authorities; when one fails the next is asked."`
	Challenges []ACMEChallenge `json:"challenges" default:"[http-01, tls-alpn-01]" enum:"http-01,tls-alpn-01,dns-01" unique:"true" len_min:"1" doc:"How control over a name may be proved: http-01 on an http listener that port 80 leads to, tls-alpn-01 on an https or tls listener that port 443 leads to, dns-01 by 'dns', which wildcards need."`
	DNS        ACMEDNS         `json:"dns" doc:"How records for dns-01 are set."`
	KeyType    ACMEKey         `json:"key_type" default:"p256" enum:"p256,p384,rsa2048,rsa3072,rsa4096" doc:"Kind of the certificates' private keys."`
	Profile    string          `json:"profile" check:"name" doc:"Profile of the authority, such as shortlived; null means its default."`
	Window     int             `json:"renewal_window" default:"33" min:"5" max:"90" doc:"The last part of a certificate's life in which it is renewed, in percent."`
	ARI        bool            `json:"renewal_info" default:"true" doc:"Whether the authority is asked when to renew (RFC 9773), which goes before renewal_window."`
	OnDemand   ACMEOnDemand    `json:"on_demand" doc:"Names that get a certificate when a client first asks for them."`
	Overrides  []ACMEOverride  `json:"overrides" default:"[]" len_max:"1000" doc:"Other settings for some of the domains."`
	Storage    string          `json:"storage" default:"/var/lib/bulwark/acme" doc:"Directory of accounts, keys and certificates; only its owner may read it. Several nodes may share it."`
	Timeout    schema.Duration `json:"timeout" default:"5m" min:"1s" max:"1h" doc:"Time one order may take."`
	Backoff    schema.Duration `json:"backoff" default:"1m" min:"1s" max:"6h" doc:"Pause after a first failure with an authority. Further ones double it, up to six hours; longer if the authority says so."`
}

// ACMEChallenge is a way to prove control over a name.
type ACMEChallenge string

// Values of ACME.Challenges.
const (
	ChallengeHTTP    ACMEChallenge = "http-01"
	ChallengeTLSALPN ACMEChallenge = "tls-alpn-01"
	ChallengeDNS     ACMEChallenge = "dns-01"
)

// ACMEKey is a kind of private key.
type ACMEKey string

// ACMECA is an authority.
type ACMECA struct {
	Directory      string        `json:"directory" required:"true" check:"url" doc:"URL of the directory. It begins with https, unless it is on this machine."`
	EABKeyID       string        `json:"eab_kid" doc:"Key id of an external account that the authority wants accounts to be bound to."`
	EABKey         schema.Secret `json:"eab_hmac_key" doc:"Its key, in base64url."`
	RootCA         string        `json:"root_ca" pem:"true" doc:"Certificates in PEM form that the authority's own TLS must come from; null means those the system trusts."`
	PreferredChain string        `json:"preferred_chain" doc:"Common name of an issuer. Of several chains the one that has it is taken, else the first."`
}

// ACMEDNS says how TXT records are set for dns-01.
type ACMEDNS struct {
	RFC2136   ACMEUpdate      `json:"rfc2136" doc:"A name server that takes dynamic updates (RFC 2136)."`
	Exec      []string        `json:"exec" default:"[]" len_max:"64" doc:"A program, by its absolute path, and its arguments. Its environment says what to do: BULWARK_ACME_ACTION (present or cleanup), BULWARK_ACME_DOMAIN, BULWARK_ACME_RECORD and BULWARK_ACME_VALUE. It has a minute, and ends with another status than 0 if it could not."`
	Resolvers []NameServer    `json:"resolvers" default:"[]" len_max:"8" doc:"Name servers that must all show the record before the authority is told of it; none means the server of rfc2136, and with exec no waiting but delay."`
	Delay     schema.Duration `json:"delay" default:"0s" min:"0s" max:"1h" doc:"Time to wait before they are asked."`
	Timeout   schema.Duration `json:"timeout" default:"2m" min:"1s" max:"1h" doc:"Time they may take to show it."`
	Follow    []NameServer    `json:"cname_resolvers" default:"[]" len_max:"8" doc:"Name servers that are asked, one after another, where a CNAME at _acme-challenge below a domain leads to: the records are set there. None means that nobody is asked."`
	Alias     string          `json:"alias" check:"sni" doc:"Name at which the records are set in place of _acme-challenge and the domain, which must have a CNAME that leads to it."`
}

// Set reports whether there is a way to set records.
func (d *ACMEDNS) Set() bool { return d.RFC2136.Server != "" || len(d.Exec) > 0 }

// ACMEUpdate is a name server that takes dynamic updates.
type ACMEUpdate struct {
	Server    string          `json:"server" doc:"Its host or address, with a port unless it is 53. It is asked over TCP."`
	Zone      string          `json:"zone" check:"sni" doc:"The zone to update; null means the one the server itself names."`
	KeyName   string          `json:"key_name" doc:"Name of the key that signs updates (TSIG); null means that they are not signed."`
	Key       schema.Secret   `json:"key" doc:"The key, in base64."`
	Algorithm string          `json:"algorithm" default:"hmac-sha256" enum:"hmac-sha1,hmac-sha224,hmac-sha256,hmac-sha384,hmac-sha512" doc:"How the key signs."`
	TTL       schema.Duration `json:"ttl" default:"60s" min:"0s" max:"24h" doc:"How long resolvers may keep the record."`
}

// ACMEOnDemand says which names get a certificate when a client asks for them.
type ACMEOnDemand struct {
	Allow     []string `json:"allow" default:"[]" len_max:"10000" doc:"Names, and patterns such as '*.example.com', which stands for any depth. With neither allow nor ask nothing is ordered on demand."`
	Ask       string   `json:"ask" check:"url" doc:"URL that is asked with ?domain=NAME and answers 200 if the name may be ordered; with allow, only of names that it has."`
	PerMinute int      `json:"per_minute" default:"10" min:"1" max:"10000" doc:"New names that are asked for, or ordered, in a minute."`
	Names     int      `json:"names" default:"1000" min:"1" max:"100000" doc:"Names that are held at once; no more are ordered above."`
}

// On reports whether anything is ordered on demand.
func (o *ACMEOnDemand) On() bool { return len(o.Allow) > 0 || o.Ask != "" }

// ACMEOverride is other settings for some domains.
type ACMEOverride struct {
	Domains    []string        `json:"domains" required:"true" len_min:"1" len_max:"20000" doc:"Which of node.acme.domains, as they stand there."`
	Challenges []ACMEChallenge `json:"challenges" default:"[]" enum:"http-01,tls-alpn-01,dns-01" unique:"true" doc:"In place of challenges, unless it is empty."`
	KeyType    *ACMEKey        `json:"key_type" enum:"p256,p384,rsa2048,rsa3072,rsa4096" doc:"In place of key_type; null means that."`
	Profile    *string         `json:"profile" check:"name" doc:"In place of profile; null means that."`
}

// On reports whether anything is ordered.
func (a *ACME) On() bool { return len(a.Domains) > 0 || a.OnDemand.On() }

var (
	_ schema.Validator = (*ACME)(nil)
	_ schema.Validator = (*ACMECA)(nil)
	_ schema.Validator = (*ACMEDNS)(nil)
	_ schema.Validator = (*ACMEUpdate)(nil)
	_ schema.Validator = (*ACMEOnDemand)(nil)
)

// Validate writes names in one way, and checks that each can be ordered.
func (a *ACME) Validate(r *schema.Report) {
	if !r.Bad("domains") {
		for i, name := range a.Domains {
			a.Domains[i] = acmeName(r, name, "domains", i)
		}
	}
	if r.Bad("overrides") || r.Bad("domains") || r.Bad("challenges") {
		return
	}
	for i := range a.Overrides {
		a.checkOverride(r, i)
	}
	for i, name := range a.Domains {
		if a.provable(name) {
			continue
		}
		r.Expect("none of the challenges can prove control over '"+name+"'", acmeNeeds(name), "domains", i)
	}
	if a.uses(ChallengeDNS) && !a.DNS.Set() && !r.Bad("dns") {
		r.Expect("the challenge dns-01 needs a way to set records", "one of rfc2136 and exec", "dns")
	}
	if a.On() && !a.Terms && !r.Bad("terms_accepted") {
		r.Expect("certificates are ordered only from authorities whose terms of service you accept", "true", "terms_accepted")
	}
	if a.On() && !filepath.IsAbs(a.Storage) && !r.Bad("storage") {
		r.Expect("expected an absolute path", "a directory such as /var/lib/bulwark/acme", "storage")
	}
}

func (a *ACME) checkOverride(r *schema.Report, i int) {
	o := &a.Overrides[i]
	for j, name := range o.Domains {
		o.Domains[j] = acmeName(r, name, "overrides", i, "domains", j)
		if !slices.Contains(a.Domains, o.Domains[j]) {
			r.Expect("'"+name+"' is none of the domains", "a name that stands under node.acme.domains", "overrides", i, "domains", j)
		}
	}
}

// Override returns the first override of a domain, or nil.
func (a *ACME) Override(name string) *ACMEOverride {
	for i := range a.Overrides {
		if slices.Contains(a.Overrides[i].Domains, name) {
			return &a.Overrides[i]
		}
	}
	return nil
}

// challenges returns those of a domain.
func (a *ACME) challenges(name string) []ACMEChallenge {
	if o := a.Override(name); o != nil && len(o.Challenges) > 0 {
		return o.Challenges
	}
	return a.Challenges
}

func (a *ACME) uses(c ACMEChallenge) bool {
	if a.On() && slices.Contains(a.Challenges, c) {
		return true
	}
	return slices.ContainsFunc(a.Overrides, func(o ACMEOverride) bool { return slices.Contains(o.Challenges, c) })
}

func (a *ACME) provable(name string) bool {
	_, err := netip.ParseAddr(name)
	return slices.ContainsFunc(a.challenges(name), func(c ACMEChallenge) bool {
		switch {
		case strings.HasPrefix(name, "*."):
			return c == ChallengeDNS
		case err == nil:
			return c != ChallengeDNS
		}
		return true
	})
}

func acmeNeeds(name string) string {
	if strings.HasPrefix(name, "*.") {
		return "dns-01 among the challenges"
	}
	return "http-01 or tls-alpn-01 among the challenges"
}

// ACMEName returns a name in the one way that it is ordered and kept by.
func ACMEName(name string) string {
	if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
		return ip.Unmap().String()
	}
	return domain(name)
}

// acmeName is ACMEName, and reports a name that no certificate can be for.
func acmeName(r *schema.Report, name string, path ...any) string {
	n := ACMEName(name)
	if ip, err := netip.ParseAddr(n); (err != nil || ip.Zone() != "") && !isDomain(strings.TrimPrefix(n, "*.")) {
		r.Expect("'"+name+"' is no name that a certificate can be for", "a domain, '*.' and a domain, or an IP address", path...)
	}
	return n
}

// isDomain reports whether s is a domain in lower case, of letters, digits and
// hyphens.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		plain := !strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
		})
		if label == "" || len(label) > 63 || !plain || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// Validate parses the URL, the key and the certificates.
func (c *ACMECA) Validate(r *schema.Report) {
	if !r.Bad("directory") && !secureOrLocal(c.Directory) {
		r.Expect("expected the URL of an ACME directory", "one that begins with https, or leads to this machine", "directory")
	}
	if (c.EABKeyID == "") != c.EABKey.Empty() {
		r.Expect("an external account has a key id and a key", "both of eab_kid and eab_hmac_key, or none", "eab_kid")
	} else if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.EABKey.Reveal(), "=")); err != nil {
		r.Expect("it is no base64url", "the key as the authority shows it", "eab_hmac_key")
	}
	if c.RootCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.RootCA)) {
		r.Expect("invalid certificate", "certificates in PEM form", "root_ca")
	}
}

// secureOrLocal reports whether a URL is one of https, or one of http on this
// machine.
func secureOrLocal(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// Validate checks that there is one way at the most.
func (d *ACMEDNS) Validate(r *schema.Report) {
	if d.RFC2136.Server != "" && len(d.Exec) > 0 {
		r.Expect("records are set in one way", "one of rfc2136 and exec", "exec")
	}
	if d.Alias != "" && len(d.Follow) > 0 {
		r.Expect("records are set at one name", "one of alias and cname_resolvers", "cname_resolvers")
	}
	if len(d.Exec) > 0 && !filepath.IsAbs(d.Exec[0]) {
		r.Expect("expected an absolute path", "a program such as /usr/local/bin/set-record", "exec", 0)
	}
	d.Alias = domain(d.Alias)
}

// Validate completes the address of the server and checks that nothing is given
// in vain.
func (u *ACMEUpdate) Validate(r *schema.Report) {
	if u.Server == "" {
		for _, field := range [...]string{"zone", "key_name", "key"} {
			if r.Given(field) {
				r.Expect(schema.ReasonNull, "no value unless 'server' is set", field)
			}
		}
		return
	}
	if _, _, err := net.SplitHostPort(u.Server); err != nil {
		u.Server = net.JoinHostPort(strings.Trim(u.Server, "[]"), "53")
	}
	u.Zone = domain(u.Zone)
	if (u.KeyName == "") != u.Key.Empty() {
		r.Expect("a key has a name and a value", "both of key_name and key, or none", "key_name")
	} else if _, err := base64.StdEncoding.DecodeString(u.Key.Reveal()); err != nil {
		r.Expect("it is no base64", "the key as the name server's configuration has it", "key")
	}
}

// Validate writes names in one way.
func (o *ACMEOnDemand) Validate(r *schema.Report) {
	if !r.Bad("allow") {
		for i, name := range o.Allow {
			o.Allow[i] = domain(name)
			if !isDomain(strings.TrimPrefix(o.Allow[i], "*.")) {
				r.Expect("'"+name+"' is no name or pattern", "a domain, or '*.' and a domain", "allow", i)
			}
		}
	}
	if o.Ask == "" || r.Bad("ask") {
		return
	}
	if u, err := url.Parse(o.Ask); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		r.Expect("expected a URL to ask", `a value such as "http://127.0.0.1:9000/may-order"`, "ask")
	}
}
