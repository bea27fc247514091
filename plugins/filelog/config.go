package filelog

import (
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration, as Kong has it.
type Config struct {
	Path              string          `json:"path" required:"true" doc:"File that lines are appended to."`
	Reopen            bool            `json:"reopen" default:"false" doc:"Whether the file is opened anew when it was moved or removed."`
	CustomFieldsByLua schema.Unserved `json:"custom_fields_by_lua" doc:"Further fields of a line, as Lua code."`
}

// Validate checks the path as Kong does.
func (c *Config) Validate(r *schema.Report) {
	if strings.ContainsAny(c.Path, "*&%`\x00") {
		r.Fail("not a valid filename", "path")
	}
}
