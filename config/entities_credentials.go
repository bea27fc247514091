package config

// MTLSAuthCredential says whose a client's certificate is, for the plugin
// mtls-auth. A name and an authority together are unique; so is a name without
// one.
//
// Kong: the entity of the plugin mtls-auth.
type MTLSAuthCredential struct {
	ID            ID                 `json:"id" doc:"Unique id. Made from the subject name and the authority when absent."`
	Consumer      Ref[Consumer]      `json:"consumer" required:"true" doc:"Consumer that the certificate's holder is."`
	SubjectName   string             `json:"subject_name" required:"true" vault:"false" doc:"A subject alternative name of the certificate, or its common name."`
	CACertificate Ref[CACertificate] `json:"ca_certificate" doc:"Authority that must have issued the certificate, directly or not; null for any that the plugin trusts."`
	Tags          []string           `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt     Timestamp          `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
}

// HeaderCertAuthCredential is MTLSAuthCredential for the plugin header-cert-auth.
//
// Kong: the entity of the plugin header-cert-auth.
type HeaderCertAuthCredential struct {
	ID            ID                 `json:"id" doc:"Unique id. Made from the subject name and the authority when absent."`
	Consumer      Ref[Consumer]      `json:"consumer" required:"true" doc:"Consumer that the certificate's holder is."`
	SubjectName   string             `json:"subject_name" required:"true" vault:"false" doc:"A subject alternative name of the certificate, or its common name."`
	CACertificate Ref[CACertificate] `json:"ca_certificate" doc:"Authority that must have issued the certificate, directly or not; null for any that the plugin trusts."`
	Tags          []string           `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt     Timestamp          `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
}

// Truster is the configuration of a plugin that trusts authorities: its instances
// are built anew when one of those changes.
type Truster interface {
	// Authorities returns the ids of ca_certificates, as they stand in the field of
	// that name.
	Authorities() []ID
}
