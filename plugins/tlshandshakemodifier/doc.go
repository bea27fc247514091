// Package tlshandshakemodifier is the plugin tls-handshake-modifier: it lets
// clients be asked for a certificate that nobody verifies.
//
// # How it works
//
// Handshakes for the server names of its scope ask for a certificate; any is
// taken, and none as well. What a client shows can be told to the upstream by
// tls-metadata-headers, which is then the one to judge it. Where mtls-auth stands
// too, that verifies it.
//
// Which server names are asked: those of a route's snis, else of its hosts, and
// every name if it has neither, or if the instance has no route of its own and
// some route of its scope has neither.
package tlshandshakemodifier
