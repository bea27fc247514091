package cors

import (
	"regexp"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration, as Kong has it.
type Config struct {
	Origins           []string `json:"origins" doc:"Origins that are allowed: exact, such as https://shop.example, * for all, or expressions in RE2 syntax. None allows all."`
	Headers           []string `json:"headers" doc:"Value of Access-Control-Allow-Headers; what the preflight asks for if there is none."`
	ExposedHeaders    []string `json:"exposed_headers" doc:"Value of Access-Control-Expose-Headers."`
	Methods           []string `json:"methods" default:"[GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS, TRACE, CONNECT]" enum:"GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT" doc:"Value of Access-Control-Allow-Methods."`
	MaxAge            *float64 `json:"max_age" doc:"Seconds for which browsers may keep the answer to a preflight; null tells them nothing."`
	Credentials       bool     `json:"credentials" default:"false" doc:"Whether Access-Control-Allow-Credentials is sent."`
	PrivateNetwork    bool     `json:"private_network" default:"false" doc:"Whether Access-Control-Allow-Private-Network is sent to preflights that ask for it."`
	PreflightContinue bool     `json:"preflight_continue" default:"false" doc:"Whether preflights go to the upstream."`
	AllowOriginAbsent bool     `json:"allow_origin_absent" default:"true" doc:"Whether answers to requests without Origin get the fields too."`
}

// Validate checks the origins, and that the names can stand in a field.
func (c *Config) Validate(r *schema.Report) {
	for i, o := range c.Origins {
		if o == "*" {
			continue
		}
		if _, err := regexp.Compile(o); err != nil {
			r.Expect("'"+o+"' is not a valid regex", `an origin, "*", or an expression in RE2 syntax`, "origins", i)
		}
	}
	checkNames(r, "headers", c.Headers)
	checkNames(r, "exposed_headers", c.ExposedHeaders)
}

func checkNames(r *schema.Report, field string, names []string) {
	for i, name := range names {
		for k := range len(name) {
			if c := name[k]; c < ' ' || c == 0x7f {
				r.Expect("invalid value", "a field name without control characters", field, i)
				break
			}
		}
	}
}
