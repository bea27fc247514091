// Package forward is the upstream leg of an exchange: an HTTP/1.1 client that
// sends the request as the route says, retries what is safe, and streams the
// answer to the exchange's wire.
//
// It runs on the exchange's goroutine. Only a request body that is still
// arriving, and each try of a request whose answer is late and that may be
// hedged, has a goroutine of its own; all are joined before Forward returns.
package forward
