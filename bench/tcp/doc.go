// Package tcp loads a TCP relay and measures it: round trips over connections
// that stay, bytes in bulk, connections that carry one round trip each. The
// origin that stands behind the relay is here too: it sends back what it gets
// (Echo), or sends for as long as it can (Source).
//
// Both are made of epoll loops, so that they cost little beside what they
// measure. What is sent has no meaning, but what comes back is counted, and a
// byte that is not the one that was sent is an error.
package tcp
