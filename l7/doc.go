// Package l7 is the HTTP exchange and everything that happens to it between
// two wires: the head as sent, the router, the plan of plugin hooks, the
// answer, and the log entry.
//
// An engine (l7/h1) turns bytes into an Exchange and gives it a Wire to answer
// on; a Pipeline serves the exchange; a Forwarder (l7/forward) is the upstream
// leg. The package opens no socket and parses no bytes of a wire itself.
package l7
