// Package hello reads what a TLS client says first: its ClientHello, from the
// bytes of a connection (Parse) or of a QUIC handshake (ParseQUIC). Nothing is
// consumed, decrypted or answered, and nothing is repaired: a hello that breaks
// a rule of its RFC is an error, so that we and whoever gets the bytes after us
// cannot read it in two ways.
//
// It knows the outer ClientHello only. What a client hides by Encrypted Client
// Hello (RFC 9849) stays hidden; Info.ECH says that there is something.
package hello
