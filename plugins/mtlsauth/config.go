package mtlsauth

import (
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration, as Kong has it.
type Config struct {
	CACertificates       []config.ID         `json:"ca_certificates" required:"true" len_min:"1" unique:"true" doc:"Ids of the ca_certificates that the client's certificate must come from."`
	ConsumerBy           []string            `json:"consumer_by" default:"[username, custom_id]" unique:"true" enum:"username,custom_id" doc:"What of a consumer a name in the certificate is compared with, when no mtls_auth_credentials has the name. An empty list: nothing."`
	SkipConsumerLookup   bool                `json:"skip_consumer_lookup" default:"false" doc:"Whether whoever has an accepted certificate passes, without a consumer. The upstream is told its names in X-Client-Cert-Dn and X-Client-Cert-San."`
	AuthenticatedGroupBy string              `json:"authenticated_group_by" default:"CN" enum:"CN,DN" doc:"With skip_consumer_lookup: what of the certificate is the client's group, its common name or its distinguished name."`
	Anonymous            string              `json:"anonymous" doc:"Id or username of the consumer that a client is which shows no accepted certificate; without one it is answered 401."`
	DefaultConsumer      string              `json:"default_consumer" doc:"Id or username of the consumer that the holder of an accepted certificate is if no other is found."`
	CacheTTL             schema.Seconds      `json:"cache_ttl" default:"60" min:"0" doc:"Seconds for which a verdict is kept with its connection, at most. It is taken anew before that when a revocation list changes or a certificate expires."`
	CertCacheTTL         schema.Milliseconds `json:"cert_cache_ttl" default:"60000" min:"0" doc:"Milliseconds for which the answer of an OCSP server counts, at most."`
	RevocationCheckMode  string              `json:"revocation_check_mode" default:"IGNORE_CA_ERROR" enum:"SKIP,IGNORE_CA_ERROR,STRICT" doc:"Whether it is asked if a certificate was revoked, and what becomes of one of which that cannot be learned: IGNORE_CA_ERROR accepts it, STRICT does not."`
	HTTPTimeout          schema.Milliseconds `json:"http_timeout" default:"30000" min:"1" doc:"Milliseconds that are spent on asking OCSP and CRL servers about a client, all of its certificates together."`
	SendCADN             bool                `json:"send_ca_dn" default:"false" doc:"Whether the client is told the names of the ca_certificates in the handshake, by which it may choose among its certificates."`
	AllowPartialChain    bool                `json:"allow_partial_chain" default:"false" doc:"Whether a certificate is accepted that comes from an intermediate authority among the ca_certificates, without its root."`
}

var _ config.Truster = (*Config)(nil)

// Authorities returns the ids of the ca_certificates.
func (c *Config) Authorities() []config.ID { return c.CACertificates }
