package requesttermination

import (
	"net/http"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration, as Kong has it.
type Config struct {
	StatusCode  int    `json:"status_code" default:"503" min:"200" max:"599" doc:"Status of the answer. Kong takes 100 to 199 too, which no answer can end with."`
	Message     string `json:"message" doc:"Message of the answer, in the usual error shape. Not together with body or content_type."`
	ContentType string `json:"content_type" doc:"Content type of body; application/json; charset=utf-8 if there is a body and no type. Needs body."`
	Body        string `json:"body" doc:"Content of the answer, as it is. Not together with message."`
	Echo        bool   `json:"echo" default:"false" doc:"Whether the answer tells the request and what it matched. Not together with message or body."`
	Trigger     string `json:"trigger" doc:"Name of a header field or query argument that a request must carry to be answered."`
}

// Validate checks what concerns several fields.
func (c *Config) Validate(r *schema.Report) {
	if c.Message != "" && (c.ContentType != "" || c.Body != "") {
		r.Fail("message cannot be used with content_type or body")
	}
	if c.ContentType != "" && c.Body == "" {
		r.Fail("content_type requires a body")
	}
	if c.Echo && (c.Message != "" || c.Body != "") {
		r.Fail("echo cannot be used with message and body")
	}
}

// defaultMessages are Kong's messages where none is configured.
var defaultMessages = map[int]string{
	http.StatusUnauthorized:        "Unauthorized",
	http.StatusNotFound:            "Not found",
	http.StatusMethodNotAllowed:    "Method not allowed",
	http.StatusInternalServerError: "An unexpected error occurred",
	http.StatusBadGateway:          "Bad Gateway",
	http.StatusServiceUnavailable:  "Service unavailable",
}
