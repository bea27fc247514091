package config

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Certificate is a certificate chain with its private key, and a second pair
// of another key type if the edge is to offer both.
//
// Kong: kong/db/schema/entities/certificates.lua.
type Certificate struct {
	ID        ID            `json:"id" doc:"Unique id. Made from the content when absent."`
	Cert      string        `json:"cert" pem:"true" required:"true" doc:"Certificate in PEM form, followed by its chain."`
	Key       schema.Secret `json:"key" required:"true" doc:"Private key of the certificate in PEM form."`
	CertAlt   string        `json:"cert_alt" pem:"true" doc:"Second certificate in PEM form, with another type of key."`
	KeyAlt    schema.Secret `json:"key_alt" doc:"Private key of the second certificate in PEM form."`
	SNIs      []string      `json:"snis" check:"wildcard_host" vault:"false" doc:"Server names the certificate is used for, sorted. In a file also records of the collection snis."`
	Tags      []string      `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt Timestamp     `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt Timestamp     `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	pairs []tls.Certificate `derived:"true"`
	refs  schema.References
}

// Pairs returns the parsed certificate, and then the second one if there is
// one, each with its Leaf. The caller must not change them.
func (c *Certificate) Pairs() []tls.Certificate { return c.pairs }

// SNI is a server name that a certificate is used for.
//
// Kong: kong/db/schema/entities/snis.lua.
type SNI struct {
	ID          ID               `json:"id" doc:"Unique id. Made from the name when absent."`
	Name        string           `json:"name" required:"true" check:"wildcard_host" vault:"false" doc:"Server name; may have a wildcard as its first or last label."`
	Certificate Ref[Certificate] `json:"certificate" required:"true" doc:"Certificate to use."`
	Tags        []string         `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt   Timestamp        `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt   Timestamp        `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`
}

// CACertificate is one certificate authority that is trusted where a service
// or plugin names it.
//
// Kong: kong/db/schema/entities/ca_certificates.lua.
type CACertificate struct {
	ID         ID        `json:"id" doc:"Unique id. Made from the content when absent."`
	Cert       string    `json:"cert" pem:"true" required:"true" doc:"Exactly one unexpired CA certificate in PEM form."`
	CertDigest string    `json:"cert_digest" vault:"false" doc:"SHA-256 of the certificate in hexadecimal; filled in."`
	Tags       []string  `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt  Timestamp `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt  Timestamp `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	parsed *x509.Certificate `derived:"true"`
	refs   schema.References
}

// X509 returns the parsed certificate. The caller must not change it.
func (c *CACertificate) X509() *x509.Certificate { return c.parsed }
