// Package policy says how TLS is spoken with clients: versions, suites, key
// exchanges and application protocols, what is asked of the client by way of a
// certificate, the keys of session tickets, and those of Encrypted Client Hello.
//
// A Set is compiled from the configuration and answers, for the server name of a
// hello, with a configuration of crypto/tls that was made beforehand. It is
// immutable. What outlives it stands in Keys.
//
// The package knows no transport and no HTTP: it opens no socket, chooses no
// certificate (package certs does) and judges no client (package peer does).
package policy
