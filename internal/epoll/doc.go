// Package epoll is a loop that waits for many sockets at once and tells what
// has become of each. One goroutine runs it; the sockets' handlers and timers
// are called on that goroutine, one after the other, so that they need no
// locks, and none of them may wait.
//
// It knows descriptors, time and queues. What is read and written is its
// users' business (l4/relay, l4/udp). It is for streams that need no goroutine
// of their own; whatever must wait (hooks, TLS) stays with the runtime's
// poller and internal/sock.
package epoll
