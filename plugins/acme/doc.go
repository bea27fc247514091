// Package acme is the plugin acme: it has certificates ordered for names when
// clients ask for them.
//
// # How it works
//
// The first TLS handshake for one of the domains has a certificate ordered from
// the authority at api_uri, and waits for it up to eight seconds; the order goes
// on when the client does not wait. Control over the name is proved on the http
// listeners (http-01) or in the handshake (tls-alpn-01), whichever the authority
// can reach. Certificates of entities go before ordered ones. What is ordered is
// kept in node.acme.storage and renewed on time; docs/acme.md tells the rest.
//
// Configurations that are written anew better use node.acme, which can do more: names that are ordered
// at once, wildcards, several authorities.
//
// # Limits
//
// One instance has at most 1000 names and orders ten new ones a minute.
// allow_any_domain is refused: whoever connects could have any name ordered, and
// use up what the authority allows. node.acme.on_demand.ask is there for names
// that are not known beforehand. Of Kong's storages there are shm and kong, which
// both stand for node.acme.storage. Kong's endpoints below /acme come with the
// Admin API.
package acme
