// Package dns resolves host names for package upstream: by the hosts file, and
// by name servers over UDP and TCP, with everything a balancer wants to know of
// an answer and the system's resolver does not tell: how long it is good for,
// and the ports, weights and priorities of SRV records.
//
// # Three layers
//
// A Resolver keeps an entry for each name it was asked for: the last answer, how
// long it is good for, and the flight, if there is one, that asks anew. Nobody
// waits for a flight while there is an answer, however old, up to Settings.Stale.
//
// A flight walks: the name as it is and below the search domains, each by the
// types of Settings.Order, along aliases, and from SRV records to the addresses
// of their hosts. It belongs to one generation of settings.
//
// A walk asks queries, each for one name and type. They are shared by the walks
// of a generation, cached, and tried with one server after the other.
//
// # What a server can do to us
//
// Nothing that lasts. A query has a time limit, a try has one, and a flight has
// one. A datagram that does not answer the question that was asked of the server
// that was asked is dropped, and after maxLies of them the question is asked
// over TCP. Chains of aliases, records and names kept are bounded. What a server
// says is believed for any name below the zones it was asked for, as DNS is:
// name servers are to be reached over a network that is trusted.
//
// The package does no DNSSEC, no DNS over TLS or HTTPS, and no recursion.
package dns
