package iprestriction

import "github.com/bulwark-edge/bulwark/config/schema"

// Config is the configuration, as Kong has it.
type Config struct {
	Allow   []schema.Prefix `json:"allow" doc:"Addresses and CIDR ranges that are let through; all others are refused."`
	Deny    []schema.Prefix `json:"deny" doc:"Addresses and CIDR ranges that are refused, asked before allow."`
	Status  int             `json:"status" default:"403" min:"200" max:"599" doc:"Status of a refusal."`
	Message string          `json:"message" doc:"Message of a refusal; IP address not allowed: <address> if there is none."`
}

// Validate checks what concerns several fields.
func (c *Config) Validate(r *schema.Report) {
	if len(c.Allow) == 0 && len(c.Deny) == 0 {
		r.Fail("at least one of these fields must be non-empty: 'allow', 'deny'")
	}
}
