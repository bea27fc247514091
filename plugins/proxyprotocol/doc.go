// Package proxyprotocol is the plugin proxy-protocol: it tells the upstream of a
// stream who the client is, by a PROXY header in front of the client's first
// byte.
//
// # How it works
//
// Each connection to an upstream begins with a header that names the client's
// address and the one it came to, by HAProxy's proxy-protocol.txt. The client is
// whom a PROXY header to us has named, if the listener believes its peer. Of
// datagrams each flow's first one carries the header, in front of its content.
//
// # Limits
//
// The upstream must expect the header: one that does not takes it for content.
// It is for streams only, since requests of many clients share a connection to
// an upstream of HTTP; those get X-Forwarded-For. Kong has no such plugin.
package proxyprotocol
