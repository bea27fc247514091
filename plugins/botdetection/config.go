package botdetection

import "github.com/bulwark-edge/bulwark/config/schema"

// Config is the configuration, as Kong has it.
type Config struct {
	Allow []schema.Pattern `json:"allow" doc:"Expressions in RE2 syntax for User-Agents that pass, asked before all else."`
	Deny  []schema.Pattern `json:"deny" doc:"Expressions in RE2 syntax for User-Agents that are refused, asked before the built-in list."`
}
