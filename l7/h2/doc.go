// Package h2 is the HTTP/2 engine (RFC 9113), for both roles. As a server it takes streams off a
// connection, serves each as an exchange, and shares the connection between
// their answers.
//
// A connection has one reader, the goroutine that serves it. It parses frames,
// holds them against the rules, and never waits for anything but the socket.
// Exchanges are run by workers, goroutines that are kept from one stream to the
// next while the connection is busy. Answers gather in one buffer, and whoever
// finds that it is time to send it does so; see conn.flush.
//
// Frames are read by x/net's Framer, header blocks by its hpack. Both are
// given only what has arrived whole, so that a connection that waits has
// neither buffer nor parser. Heads of answers are encoded without a table of
// their own, as literals, so that any worker can encode beside the others.
//
// Client is the other role: it asks upstreams, on connections that many calls
// share. A connection has a reader, which never writes; who has something to send
// sends what others have gathered with it.
package h2
