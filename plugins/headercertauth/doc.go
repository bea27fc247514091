// Package headercertauth is the plugin header-cert-auth: it recognises clients by
// a certificate that a proxy in front of us has taken and tells in a header field.
//
// # How it works
//
// The field certificate_header_name holds the certificate, perhaps with those of
// its issuers behind it, in the format certificate_header_format: DER or PEM in
// Base64, of several certificates each, with commas between; or PEM, URL-encoded,
// as nginx writes it in $ssl_client_escaped_cert. It is verified, and its consumer
// found, as mtls-auth does, with header_cert_auth_credentials in the place of
// mtls_auth_credentials.
//
// That the client has the certificate's key is for the proxy to know. So with
// secure_source the field counts only if the connection comes from an address in
// node.trusted_ips, or its PROXY header names one; else it is as if there were
// none, and the upstream is not shown it. Without secure_source anybody who has
// seen a certificate can pass for its holder.
//
// The access log tells the verdict in header_client_verify.
//
// # Limits
//
// A field has at most 10 certificates and 256 KiB; two fields of the name, be it
// with underscores, are refused. An instance keeps the verdicts of at most 4,096
// values, for cache_ttl at most.
package headercertauth
