package iprestriction

import (
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration, as Kong has it but for what names files,
// countries and networks.
type Config struct {
	Allow   []schema.Prefix `json:"allow" doc:"Addresses and CIDR ranges that are let through; all others are refused."`
	Deny    []schema.Prefix `json:"deny" doc:"Addresses and CIDR ranges that are refused, asked before allow."`
	Status  int             `json:"status" default:"403" min:"200" max:"599" doc:"Status of a refusal."`
	Message string          `json:"message" doc:"Message of a refusal; IP address not allowed: <address> if there is none."`

	AllowFiles      []string `json:"allow_files" unique:"true" doc:"Files whose addresses and CIDR ranges count as those of allow: one a line, what follows # is a comment. A file that is replaced is read anew within seconds."`
	DenyFiles       []string `json:"deny_files" unique:"true" doc:"Files whose addresses and CIDR ranges count as those of deny."`
	AllowCountries  []string `json:"allow_countries" unique:"true" match:"^[A-Z][A-Z]$" doc:"Countries (ISO 3166-1, two capital letters) whose addresses count as those of allow."`
	DenyCountries   []string `json:"deny_countries" unique:"true" match:"^[A-Z][A-Z]$" doc:"Countries whose addresses count as those of deny."`
	AllowASNs       []int    `json:"allow_asns" unique:"true" min:"1" max:"4294967295" doc:"Autonomous systems whose addresses count as those of allow."`
	DenyASNs        []int    `json:"deny_asns" unique:"true" min:"1" max:"4294967295" doc:"Autonomous systems whose addresses count as those of deny."`
	CountryDatabase string   `json:"country_database" doc:"File in MaxMind's format that tells the country of an address, such as GeoLite2-Country.mmdb; it is not part of Bulwark."`
	ASNDatabase     string   `json:"asn_database" doc:"File in MaxMind's format that tells the autonomous system of an address, such as GeoLite2-ASN.mmdb."`
}

// Validate checks what concerns several fields.
func (c *Config) Validate(r *schema.Report) {
	none := true
	for _, n := range []int{
		len(c.Allow), len(c.Deny), len(c.AllowFiles), len(c.DenyFiles),
		len(c.AllowCountries), len(c.DenyCountries), len(c.AllowASNs), len(c.DenyASNs),
	} {
		none = none && n == 0
	}
	if none {
		r.Fail("at least one of these fields must be non-empty: 'allow', 'deny'")
	}
	if c.CountryDatabase == "" && len(c.AllowCountries)+len(c.DenyCountries) > 0 {
		r.Fail("required field missing, since countries are named", "country_database")
	}
	if c.ASNDatabase == "" && len(c.AllowASNs)+len(c.DenyASNs) > 0 {
		r.Fail("required field missing, since autonomous systems are named", "asn_database")
	}
	for name, files := range map[string][]string{
		"allow_files": c.AllowFiles, "deny_files": c.DenyFiles,
		"country_database": {c.CountryDatabase}, "asn_database": {c.ASNDatabase},
	} {
		for _, path := range files {
			if strings.ContainsRune(path, 0) {
				r.Fail("not a valid filename", name)
			}
		}
	}
}
