package acme

import (
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration.
type Config struct {
	Email         string          `json:"account_email" required:"true" match:"^[^@\\s/]+@[^@\\s/]+$" doc:"Address of the account, for the authority to write to."`
	AccountKey    schema.Unserved `json:"account_key" doc:"A key of the entity keys for the account; one is made."`
	API           string          `json:"api_uri" default:"https://acme-v02.api.letsencrypt.org/directory" check:"url" doc:"Directory of the authority."`
	TOS           bool            `json:"tos_accepted" default:"false" doc:"Whether you accept the authority's terms of service. Must be true."`
	EABKeyID      string          `json:"eab_kid" doc:"Key id of an external account."`
	EABKey        schema.Secret   `json:"eab_hmac_key" doc:"Its key, in base64url."`
	CertType      string          `json:"cert_type" default:"rsa" enum:"rsa,ecc" doc:"Kind of the certificates' private keys; ecc is P-256."`
	RSABits       int             `json:"rsa_key_size" default:"4096" enum:"2048,3072,4096" doc:"Bits of RSA keys."`
	Renew         int             `json:"renew_threshold_days" default:"14" min:"1" max:"3650" doc:"Days before its end that a certificate is renewed, unless the authority wants another time (RFC 9773); at most half of its life."`
	Domains       []string        `json:"domains" default:"[]" unique:"true" len_max:"10000" doc:"Names that may be ordered; '*.example.com' stands for all names below. IP addresses are ordered at once, since no client asks for one by its name."`
	AnyDomain     bool            `json:"allow_any_domain" default:"false" unserved:"true" doc:"Whether any name may be ordered."`
	Backoff       int             `json:"fail_backoff_minutes" default:"5" min:"1" max:"10080" doc:"Minutes that a name is left alone after a failure; longer if the authority says so."`
	Storage       string          `json:"storage" default:"shm" enum:"kong,shm,redis,consul,vault" unserved:"redis,consul,vault" doc:"Where certificates are kept: shm and kong both stand for node.acme.storage."`
	StorageConfig StorageConfig   `json:"storage_config" doc:"Settings of storages; none has any."`
	Chain         string          `json:"preferred_chain" doc:"Common name of an issuer. Of several chains the one that has it is taken, else the first."`
	CommonName    bool            `json:"enable_ipv4_common_name" default:"true" doc:"Whether an IPv4 address also stands as the common name of its certificate."`
}

// StorageConfig is the settings of Kong's storages.
type StorageConfig struct {
	Shm    Shm             `json:"shm" doc:"Of shm."`
	Redis  schema.Unserved `json:"redis" doc:"Of redis."`
	Consul schema.Unserved `json:"consul" doc:"Of consul."`
	Vault  schema.Unserved `json:"vault" doc:"Of vault."`
	Kong   schema.Unserved `json:"kong" doc:"Of kong."`
}

// Shm is the settings of Kong's shared memory.
type Shm struct {
	Name string `json:"shm_name" default:"kong" unserved:"true" doc:"Name of the memory, of which there is none here."`
}

var _ schema.Validator = (*Config)(nil)

// Validate writes names in one way and checks what belongs together.
func (c *Config) Validate(r *schema.Report) {
	if !c.TOS && !r.Bad("tos_accepted") {
		r.Expect("terms of service must be accepted", "true", "tos_accepted")
	}
	if (c.EABKeyID == "") != c.EABKey.Empty() {
		r.Expect("an external account has a key id and a key", "both of eab_kid and eab_hmac_key, or none", "eab_kid")
	} else if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.EABKey.Reveal(), "=")); err != nil {
		r.Expect("it is no base64url", "the key as the authority shows it", "eab_hmac_key")
	}
	if !r.Bad("api_uri") && !secure(c.API) {
		r.Expect("expected the URL of an ACME directory", "one that begins with https, or leads to this machine", "api_uri")
	}
	if r.Bad("domains") {
		return
	}
	for i, name := range c.Domains {
		if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
			c.Domains[i] = ip.Unmap().String()
			continue
		}
		c.Domains[i] = strings.ToLower(strings.TrimSuffix(name, "."))
		if !fit(strings.TrimPrefix(c.Domains[i], "*.")) {
			r.Expect("'"+name+"' is no name or pattern", "a domain, '*.' and a domain, or an IP address", "domains", i)
		}
	}
}

// fit reports whether a name is a domain in lower case.
func fit(name string) bool {
	plain := !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.'
	})
	return plain && name != "" && len(name) <= 253 && !strings.Contains("."+name+".", "..")
}

// secure reports whether a URL is one of https, or one of http on this machine.
func secure(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}
