package config

import (
	"crypto/x509"
	"net/netip"
	"net/url"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// DNS says how host names are resolved.
type DNS struct {
	Servers    []NameServer            `json:"servers" default:"[]" len_max:"8" doc:"Name servers, asked in this order; none means those of resolv_conf. An address, with a port unless it is 53."`
	Zones      map[string][]NameServer `json:"zones" default:"{}" keys:"sni" len_max:"100" doc:"Other name servers for a domain and all names below it, such as {consul: ['127.0.0.1:8600']}. Search domains are not tried for such names."`
	ResolvConf string                  `json:"resolv_conf" default:"/etc/resolv.conf" doc:"File that tells name servers, search domains and options where they are not given here, or off. Read again when it changes."`
	Hosts      string                  `json:"hosts" default:"/etc/hosts" doc:"File of names and addresses that come before name servers, or off. Read again when it changes."`
	Search     []string                `json:"search" default:"[]" check:"sni" len_max:"16" doc:"Domains that a name without a dot at its end may be meant to be below; none means those of resolv_conf."`
	Ndots      *int                    `json:"ndots" min:"0" max:"15" doc:"Names with as many dots are tried as they are before the search domains; null means what resolv_conf says, or 1."`
	Attempts   *int                    `json:"attempts" min:"1" max:"5" doc:"How often the name servers are asked before giving up; null means what resolv_conf says, or 2."`
	Timeout    *schema.Duration        `json:"timeout" min:"10ms" max:"30s" doc:"How long one name server may take; null means what resolv_conf says, or 2s."`
	Rotate     *bool                   `json:"rotate" doc:"Whether the name servers take turns in being asked first; null means what resolv_conf says."`
	Order      []string                `json:"order" default:"[LAST, SRV, A, AAAA, CNAME]" unique:"true" enum:"LAST,SRV,A,AAAA,CNAME" len_min:"1" doc:"Record types to ask for, until one has an answer. LAST is what had one the last time, and comes first."`
	MinTTL     schema.Duration         `json:"min_ttl" default:"1s" min:"100ms" max:"24h" doc:"Least time an answer is good for, whatever its records say."`
	MaxTTL     schema.Duration         `json:"max_ttl" default:"24h" min:"1s" max:"168h" doc:"Greatest time an answer is good for, whatever its records say. At least min_ttl."`
	StaleTTL   schema.Duration         `json:"stale_ttl" default:"1h" min:"0s" max:"168h" doc:"How long an answer past its time is used while it is asked for anew, or while no name server answers."`
	NotFound   schema.Duration         `json:"not_found_ttl" default:"30s" min:"100ms" max:"24h" doc:"How long it is remembered that a name or record does not exist."`
	ErrorTTL   schema.Duration         `json:"error_ttl" default:"1s" min:"100ms" max:"1h" doc:"How long it is remembered that no name server had an answer."`
	CacheNames int                     `json:"cache_names" default:"10000" min:"100" max:"1000000" doc:"Names whose answers are kept."`
}

// DNSOff stands for no file in DNS.ResolvConf and DNS.Hosts.
const DNSOff = "off"

// Consul says how names below .consul are found in Consul's catalogue.
type Consul struct {
	Address       string          `json:"address" check:"url" doc:"URL of a Consul agent, such as http://127.0.0.1:8500. Names of the form [tag.]name.service[.datacenter].consul are then followed by its HTTP API; without it they go to name servers as any other."`
	Token         schema.Secret   `json:"token" doc:"ACL token sent to the agent, with service:read and node:read."`
	Datacenter    string          `json:"datacenter" check:"name" doc:"Datacenter of names that have none; null means the agent's own."`
	CACertificate string          `json:"ca_certificate" pem:"true" doc:"Certificates in PEM form that the agent's certificate must come from; null means those the system trusts. Only with https."`
	Wait          schema.Duration `json:"wait" default:"1m" min:"1s" max:"10m" doc:"How long the agent may hold a question back until something changes."`

	url *url.URL
	cas *x509.CertPool
}

// URL returns the agent's address, nil if there is none.
func (c *Consul) URL() *url.URL { return c.url }

// CAs returns the authorities the agent's certificate must come from, nil for
// those the system trusts.
func (c *Consul) CAs() *x509.CertPool { return c.cas }

var (
	_ schema.Validator = (*DNS)(nil)
	_ schema.Validator = (*Consul)(nil)
	_ schema.Text      = (*NameServer)(nil)
)

// Validate checks the order and the bounds, and writes domains in one way.
func (d *DNS) Validate(r *schema.Report) {
	if len(d.Order) == 1 && d.Order[0] == "LAST" {
		r.Expect("'LAST' alone never finds a name", "at least one record type beside it", "order")
	}
	if d.MaxTTL < d.MinTTL && !r.Bad("min_ttl") && !r.Bad("max_ttl") {
		r.Expect("value is less than 'min_ttl'", d.MinTTL.String()+" or more", "max_ttl")
	}
	for i := range d.Search {
		d.Search[i] = domain(d.Search[i])
	}
	if r.Bad("zones") {
		return
	}
	zones := make(map[string][]NameServer, len(d.Zones))
	for name, servers := range d.Zones {
		if len(servers) == 0 {
			r.Expect("length must be at least 1", "the name servers of the zone", "zones", name)
		}
		if _, twice := zones[domain(name)]; twice {
			r.Fail("the zone is given twice", "zones", name)
		}
		zones[domain(name)] = servers
	}
	d.Zones = zones
}

// domain writes a domain in lower case and without a dot at the end.
func domain(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// Validate parses the address and the certificates, and checks that nothing is
// given in vain.
func (c *Consul) Validate(r *schema.Report) {
	c.url, c.cas = nil, nil
	if r.Bad("address") {
		return
	}
	if c.Address == "" {
		for _, field := range [...]string{"token", "datacenter", "ca_certificate"} {
			if r.Given(field) {
				r.Expect(schema.ReasonNull, "no value unless 'address' is set", field)
			}
		}
		return
	}
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		r.Expect("expected the URL of a Consul agent", `a value such as "http://127.0.0.1:8500"`, "address")
		return
	}
	c.url = u
	if c.CACertificate == "" {
		return
	}
	if u.Scheme != "https" {
		r.Expect(schema.ReasonNull, "no value unless 'address' begins with https", "ca_certificate")
		return
	}
	c.cas = x509.NewCertPool()
	if !c.cas.AppendCertsFromPEM([]byte(c.CACertificate)) {
		r.Expect("invalid certificate", "certificates in PEM form", "ca_certificate")
	}
}

// NameServer is where a name server listens.
type NameServer struct {
	netip.AddrPort
}

// dnsPort is where a name server listens unless it is said.
const dnsPort = 53

// MarshalText returns the string form.
func (s NameServer) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses an address, with a port unless it is 53.
func (s *NameServer) UnmarshalText(text []byte) error {
	if a, err := netip.ParseAddr(string(text)); err == nil {
		s.AddrPort = netip.AddrPortFrom(a.Unmap(), dnsPort)
		return nil
	}
	ap, err := netip.ParseAddrPort(string(text))
	if err != nil || ap.Port() == 0 {
		return &schema.Problem{
			Reason:   "expected the address of a name server",
			Expected: `a value such as "10.0.0.53", "127.0.0.1:8600" or "[2001:db8::53]:53"`,
		}
	}
	s.AddrPort = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	return nil
}

// Describe implements schema.Text.
func (NameServer) Describe() schema.Description {
	return schema.Description{Kind: "string", Format: "name-server", Example: "10.0.0.53", Literal: true}
}
