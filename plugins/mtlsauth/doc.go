// Package mtlsauth is the plugin mtls-auth: it recognises clients by the
// certificate that they show in the TLS handshake.
//
// # How it works
//
// Handshakes for the server names of its scope ask for a certificate: those of a
// route's snis, else of its hosts, and every name if a route has neither, has an
// expression, or a host that ends in a wildcard. Other names are not asked. The
// handshake itself never fails for what the client shows; the plugin answers 401.
//
// The certificate must lead to one of ca_certificates, be for clients, and not be
// revoked, as revocation_check_mode wants to know it. Then its consumer is looked
// for by its subject alternative names and then its common name: a credential
// (mtls_auth_credentials) for the name and an authority of the path, a credential
// for the name, the name itself as consumer_by says, and at last default_consumer.
// With skip_consumer_lookup whoever has such a certificate passes, and
// authenticated_group_by says what its group is.
//
// The upstream is told by X-Consumer-ID, X-Consumer-Custom-ID, X-Consumer-Username
// and X-Credential-Identifier, which is the id of the credential, or the name that
// the consumer was found by; by X-Anonymous-Consumer of an anonymous one; and with
// skip_consumer_lookup by X-Client-Cert-Dn, X-Client-Cert-San and
// X-Authenticated-Groups. What the client itself sends under these names is
// removed, written with hyphens or underscores. The access log tells the verdict in
// request.tls.client_verify.
//
// Sessions that are resumed are verified like others, and a connection that lives
// on is verified anew when ca_certificates change, when a certificate of the path
// expires or is found to be revoked, and when cache_ttl is over. A request for a
// host whose clients are asked something else than those of the handshake's server
// name is answered 421.
//
// # Limits
//
// A chain has at most 10 certificates. A client is told the names of the
// authorities (send_ca_dn) only if all instances that meet on a server name want
// that. Alternative names with a comma or a space do not stand in
// X-Client-Cert-San. It runs on requests; for streams there is client_auth of a
// policy in node.tls.
package mtlsauth
