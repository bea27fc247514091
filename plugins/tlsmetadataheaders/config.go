package tlsmetadataheaders

// Config is the configuration, as Kong has it.
type Config struct {
	InjectClientCertDetails         bool   `json:"inject_client_cert_details" default:"false" doc:"Whether the fields are set. They are removed from what the client sends in any case."`
	ClientCertHeaderName            string `json:"client_cert_header_name" default:"X-Client-Cert" check:"header_name" doc:"Field for the certificate in PEM form, URL-encoded."`
	ClientSerialHeaderName          string `json:"client_serial_header_name" default:"X-Client-Cert-Serial" check:"header_name" doc:"Field for the serial number, in hexadecimal."`
	ClientCertIssuerDNHeaderName    string `json:"client_cert_issuer_dn_header_name" default:"X-Client-Cert-Issuer-DN" check:"header_name" doc:"Field for the issuer's distinguished name."`
	ClientCertSubjectDNHeaderName   string `json:"client_cert_subject_dn_header_name" default:"X-Client-Cert-Subject-DN" check:"header_name" doc:"Field for the subject's distinguished name."`
	ClientCertFingerprintHeaderName string `json:"client_cert_fingerprint_header_name" default:"X-Client-Cert-Fingerprint" check:"header_name" doc:"Field for the SHA-1 of the certificate, in hexadecimal."`
}
