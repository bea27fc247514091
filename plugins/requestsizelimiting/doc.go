// Package requestsizelimiting is the plugin request-size-limiting: it refuses
// requests with too much content.
//
// # How it works
//
// An announced length over allowed_payload_size is refused with 413, or with 417
// if the client waits for 100 (Continue), before any content is read. Content of
// unknown length is counted while it is passed on, and the exchange ends with the
// same answer once it is too much; if the upstream has begun to answer by then,
// the answer is broken off.
//
// With require_content_length every request without a field Content-Length is
// refused with 411, also one without content.
//
// A kilobyte is 1024 bytes, a megabyte 1024 of those.
package requestsizelimiting
