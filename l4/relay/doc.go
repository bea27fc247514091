// Package relay passes the bytes of two connections on to each other: what the
// client sends to the upstream, and what the upstream sends to the client.
//
// Two plaintext sockets become a Link on a Loop. A Loop is one goroutine for
// thousands of links; an idle one costs some hundred bytes beyond its sockets.
// Small messages are read and written, bulk is spliced within the kernel, and
// which of the two is decided by what flows. A Loop also dials, so that a
// connection that was accepted by its descriptor goes to its end without a
// goroutine of its own. What is called on a Loop must not wait. Where one side speaks TLS,
// Copy does the same with two goroutines.
//
// The package knows sockets. Routes, hooks, logs and who may connect are the
// business of those above.
package relay
