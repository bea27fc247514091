package responsetransformer

import (
	"strconv"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
)

// Config is the configuration, as Kong has it.
type Config struct {
	Remove  Names   `json:"remove" doc:"What is removed."`
	Rename  Renames `json:"rename" doc:"What gets another name."`
	Replace Values  `json:"replace" doc:"What gets another value, if it is there."`
	Add     Values  `json:"add" doc:"What is added, if it is not there."`
	Append  Values  `json:"append" doc:"What is added to what is there."`
}

// Names are names to remove.
type Names struct {
	JSON    []string `json:"json" default:"[]" doc:"Names of members of JSON content."`
	Headers []string `json:"headers" default:"[]" doc:"Names of header fields."`
}

// Renames are names to change.
type Renames struct {
	JSON    []string `json:"json" default:"[]" doc:"old:new for members of JSON content."`
	Headers []string `json:"headers" default:"[]" doc:"old:new for header fields."`
}

// Values are names with values.
type Values struct {
	JSON      []string `json:"json" default:"[]" doc:"name:value for members of JSON content."`
	JSONTypes []string `json:"json_types" default:"[]" enum:"boolean,number,string" doc:"What each value of json is; a string if it is not said."`
	Headers   []string `json:"headers" default:"[]" doc:"name:value for header fields."`
}

// Validate checks the header fields.
func (c *Names) Validate(r *schema.Report) {
	edit.CheckNames(r, "headers", c.Headers, true)
}

// Validate checks the elements.
func (c *Renames) Validate(r *schema.Report) {
	edit.CheckRenames(r, "json", c.JSON, false)
	edit.CheckRenames(r, "headers", c.Headers, true)
}

// Validate checks the elements, and that values are of their types.
func (c *Values) Validate(r *schema.Report) {
	edit.CheckPairs(r, "json", c.JSON, false)
	edit.CheckPairs(r, "headers", c.Headers, true)
	if len(c.JSONTypes) > len(c.JSON) {
		r.Fail("there are more json_types than values of json", "json_types")
	}
	for i := range min(len(c.JSON), len(c.JSONTypes)) {
		if v := edit.SplitPair(c.JSON[i]).Value; jsonValue(v, c.JSONTypes[i]) == nil {
			r.Fail("the value "+strconv.Quote(v)+" is no "+c.JSONTypes[i], "json", i)
		}
	}
}
