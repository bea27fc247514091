// Package sock is a TCP socket as the data path wants it: a wait for bytes
// holds no buffer, a deadline costs nothing while it keeps being pushed out,
// and a stale pooled connection is noticed by the same call that sends on it.
//
// It is used by both legs: the client's (through l4) and the upstream's.
package sock
