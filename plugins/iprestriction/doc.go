// Package iprestriction is the plugin ip-restriction: it lets only some client
// addresses through, or refuses some.
//
// # How it works
//
// Addresses and CIDR ranges of both families are held in two prefix tables,
// built once; a look-up costs some tens of nanoseconds however long the lists
// are. deny is asked first. With allow, whoever is not listed is refused.
//
// Lists may also stand in files, and addresses be told by their country or
// autonomous system, as databases in MaxMind's format know them. Files and
// databases are read when the configuration is; one that is replaced later is
// read anew within seconds, and one that is then broken or gone leaves what was
// read before in force. An address that a database does not know is of no
// country: it is not allowed by one, and not denied by one. A database that tells
// no country, or no autonomous system, of its first 100,000 networks is an error.
//
// The address is the client's: whom a trusted peer or a PROXY header names, or
// else the peer of the connection. Among the plugins of a listener the instance
// judges each connection when it comes: who is refused is closed before TLS and
// gets no answer, so that status and message are not used. There it is the
// connection's client that counts, since no request has been read. A stream of a
// route is ended in the same way, before an upstream is chosen.
//
// # Limits
//
// A list or database has at most 512 MiB. Kong has neither files nor countries.
package iprestriction
