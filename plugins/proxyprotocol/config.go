package proxyprotocol

// Config is the configuration.
type Config struct {
	Version string   `json:"version" default:"'2'" enum:"1,2" doc:"Version of the header. Version 1 is a line of text that knows only TCP: upstreams of datagrams get version 2 all the same."`
	TLVs    []string `json:"tlvs" default:"[]" unique:"true" enum:"authority,alpn,ssl" doc:"What version 2 tells besides: the name the client asked for by SNI, the protocol it agreed upon by ALPN, and version and cipher of its TLS, with the common name of its certificate if a TLS policy has verified one. What is not known of a client is left out."`
}
