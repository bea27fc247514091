// Package handshake loads a server with TLS handshakes and measures it: each
// connection is opened, shakes hands, asks for one answer over HTTP/1.1 and is
// closed. Handshakes are full, or resume the session of the one before, and the
// client may show a certificate.
package handshake
