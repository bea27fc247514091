// Package telemetry is how the edge speaks about itself: the operator's log
// (slog, JSON), the access log's sink, the counters and histograms behind
// /metrics, the status listener, and the words to systemd.
//
// What runs once per request costs a few atomic adds or one copy into a
// bounded buffer; nothing here ever blocks the data path. What an access log
// line says is decided above, where the exchange is known; this package only
// carries bytes.
package telemetry
