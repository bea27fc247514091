// Package stream serves streams: from a client that was let in and routed, by
// the plan's hooks and the balancer's endpoints, to the relay of bytes or
// datagrams, and at last to the log.
//
// A stream that is plaintext on both sides, or passed through, lives on a loop
// of l4/relay and has no goroutine of its own. Where TLS is spoken a goroutine
// does the same steps and then copies. What must wait, such as the first look-up
// of a name, waits on a goroutine that the Server owns.
package stream
