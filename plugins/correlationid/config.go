package correlationid

// Config is the configuration, as Kong has it.
type Config struct {
	HeaderName     string `json:"header_name" default:"Kong-Request-ID" len_min:"1" check:"header_name" doc:"Header field that carries the id."`
	Generator      string `json:"generator" default:"uuid#counter" enum:"uuid,uuid#counter,tracker" doc:"How an id is made."`
	EchoDownstream bool   `json:"echo_downstream" default:"false" doc:"Whether the client is told the id."`
}
