package tlshandshakemodifier

// Config is the configuration, as Kong has it.
type Config struct {
	TLSClientCertificate string `json:"tls_client_certificate" default:"REQUEST" enum:"REQUEST" doc:"REQUEST: the client is asked for a certificate, and goes on with any or none."`
}
