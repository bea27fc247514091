// Package iprestriction is the plugin ip-restriction: it lets only some client
// addresses through, or refuses some.
//
// # How it works
//
// Addresses and CIDR ranges of both families are held in two prefix tables,
// built once; a look-up costs some tens of nanoseconds however long the lists
// are. deny is asked first. With allow, whoever is not listed is refused.
//
// The address is the client's: whom a trusted peer or a PROXY header names, or
// else the peer of the connection. Among the plugins of a listener the instance
// judges each connection when it comes: who is refused is closed before TLS and
// gets no answer, so that status and message are not used. There it is the
// connection's client that counts, since no request has been read.
package iprestriction
