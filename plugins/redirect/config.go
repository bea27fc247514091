package redirect

// Config is the configuration, as Kong has it.
type Config struct {
	StatusCode       int    `json:"status_code" default:"301" min:"200" max:"599" doc:"Status of the answer."`
	Location         string `json:"location" required:"true" check:"url" doc:"URL that clients are sent to."`
	KeepIncomingPath bool   `json:"keep_incoming_path" default:"false" doc:"Whether path and query of the request replace those of location."`
}
