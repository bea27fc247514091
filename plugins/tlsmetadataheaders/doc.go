// Package tlsmetadataheaders is the plugin tls-metadata-headers: it tells the
// upstream of the certificate that the client has shown.
//
// # How it works
//
// What the leaf of the client's chain says is written into fields of the request,
// as nginx writes it: the certificate in PEM form and URL-encoded, the serial
// number, issuer and subject by RFC 2253, and the SHA-1 of the certificate. What a
// client sends under these names is removed, written with hyphens or underscores.
//
// Nobody has verified the certificate unless mtls-auth or a TLS policy does: a
// client can show any, and only that it has the key is sure. Clients are asked
// for one where mtls-auth or tls-handshake-modifier stands, or where a policy of
// node.tls says so; this plugin does not ask.
//
// # Limits
//
// A certificate with names that are malformed or over long is not told. What is
// told of a connection is worked out once.
package tlsmetadataheaders
