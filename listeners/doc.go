// Package listeners owns the sockets that accept traffic: it binds them, lets
// connections in within their bounds, and drains what is no longer wanted. It
// does not look into a connection, but for the PROXY header of listed peers.
package listeners
