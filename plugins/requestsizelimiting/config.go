package requestsizelimiting

import "github.com/bulwark-edge/bulwark/config/schema"

// Config is the configuration, as Kong has it.
type Config struct {
	AllowedPayloadSize   int    `json:"allowed_payload_size" default:"128" doc:"Greatest size of a request's content, in size_unit."`
	SizeUnit             string `json:"size_unit" default:"megabytes" enum:"megabytes,kilobytes,bytes" doc:"Unit of allowed_payload_size."`
	RequireContentLength bool   `json:"require_content_length" default:"false" doc:"Whether a request must carry Content-Length."`
}

// units are the sizes of the units, in bytes.
var units = map[string]int64{"megabytes": 1 << 20, "kilobytes": 1 << 10, "bytes": 1}

// mostUnits is the largest size in every unit; its bytes fit an int64.
const mostUnits = 1 << 40

// Validate checks that the size is one.
func (c *Config) Validate(r *schema.Report) {
	if c.AllowedPayloadSize < 0 || c.AllowedPayloadSize > mostUnits {
		r.Fail("value should be between 0 and 1099511627776", "allowed_payload_size")
	}
}
