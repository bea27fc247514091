package requesttransformer

import (
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
)

// Config is the configuration, as Kong has it.
type Config struct {
	HTTPMethod string  `json:"http_method" check:"method" doc:"Method the upstream is sent; the request's if there is none."`
	Remove     Names   `json:"remove" doc:"What is removed."`
	Rename     Renames `json:"rename" doc:"What gets another name."`
	Replace    Replace `json:"replace" doc:"What gets another value, if it is there."`
	Add        Values  `json:"add" doc:"What is added, if it is not there."`
	Append     Values  `json:"append" doc:"What is added to what is there."`
}

// Names are names to remove.
type Names struct {
	Body        []string `json:"body" default:"[]" doc:"Names of members, arguments or parts of the content."`
	Headers     []string `json:"headers" default:"[]" doc:"Names of header fields."`
	Querystring []string `json:"querystring" default:"[]" doc:"Names of query arguments."`
}

// Renames are names to change.
type Renames struct {
	Body        []string `json:"body" default:"[]" doc:"old:new for members, arguments or parts of the content."`
	Headers     []string `json:"headers" default:"[]" doc:"old:new for header fields."`
	Querystring []string `json:"querystring" default:"[]" doc:"old:new for query arguments."`
}

// Replace are values to change.
type Replace struct {
	URI         string   `json:"uri" doc:"Path the upstream is sent, in place of the service's and the request's. Templates are read."`
	Body        []string `json:"body" default:"[]" doc:"name:value for members, arguments or parts of the content. Templates are read."`
	Headers     []string `json:"headers" default:"[]" doc:"name:value for header fields. Templates are read."`
	Querystring []string `json:"querystring" default:"[]" doc:"name:value for query arguments. Templates are read."`
}

// Values are names with values.
type Values struct {
	Body        []string `json:"body" default:"[]" doc:"name:value for members, arguments or parts of the content. Templates are read."`
	Headers     []string `json:"headers" default:"[]" doc:"name:value for header fields. Templates are read."`
	Querystring []string `json:"querystring" default:"[]" doc:"name:value for query arguments. Templates are read."`
}

// Validate refuses methods that are not requests for a resource.
func (c *Config) Validate(r *schema.Report) {
	if c.HTTPMethod == "CONNECT" {
		r.Fail("cannot be CONNECT", "http_method")
	}
}

// Validate checks the header fields.
func (c *Names) Validate(r *schema.Report) {
	edit.CheckNames(r, "headers", c.Headers, true)
}

// Validate checks the elements.
func (c *Renames) Validate(r *schema.Report) {
	edit.CheckRenames(r, "body", c.Body, false)
	edit.CheckRenames(r, "headers", c.Headers, true)
	edit.CheckRenames(r, "querystring", c.Querystring, false)
}

// Validate checks the elements and the path.
func (c *Replace) Validate(r *schema.Report) {
	if c.URI != "" {
		switch t, err := parseTemplate(c.URI); {
		case err != nil:
			r.Fail(err.Error(), "uri")
		case !t.isPath():
			r.Expect("should start with: /", "a path without a query and without dot segments", "uri")
		}
	}
	checkValues(r, c.Body, c.Headers, c.Querystring)
}

// Validate checks the elements.
func (c *Values) Validate(r *schema.Report) {
	checkValues(r, c.Body, c.Headers, c.Querystring)
}

func checkValues(r *schema.Report, body, headers, querystring []string) {
	edit.CheckPairs(r, "body", body, false)
	edit.CheckPairs(r, "headers", headers, true)
	edit.CheckPairs(r, "querystring", querystring, false)
	checkTemplates(r, "body", body)
	checkTemplates(r, "headers", headers)
	checkTemplates(r, "querystring", querystring)
}

func checkTemplates(r *schema.Report, field string, list []string) {
	for i, s := range list {
		if _, err := parseTemplate(edit.SplitPair(s).Value); err != nil {
			r.Fail(err.Error(), field, i)
		}
	}
}
