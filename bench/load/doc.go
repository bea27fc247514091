// Package load generates HTTP/1.1 load from one process and measures the
// answers.
//
// It knows two loops. The closed loop keeps a fixed number of connections busy
// back to back: each sends its next request when the last answer is complete.
// It finds the most a server can do, but hides stalls: while the server stands
// still, nothing is sent, so nothing is late. The open loop sends at a fixed
// rate whatever the server does. Its latency counts from the moment at which a
// request should have been sent, so a stall shows in every request that it
// delayed (no coordinated omission).
//
// The client is its own, over net.Conn: the request is built once, and of an
// answer only what ends it is parsed. It is no general HTTP client: no
// redirects, no cookies, no compression, no HTTP/2.
package load
