package telemetry

import "github.com/prometheus/client_golang/prometheus"

// StreamKind is what a stream is to its metrics.
type StreamKind uint8

// The kinds, by the protocols of Kong's routes.
const (
	StreamTCP StreamKind = iota
	StreamTLS
	StreamPassthrough
	StreamUDP
)

// streamNames are the label values of StreamKind.
var streamNames = [...]string{StreamTCP: "tcp", StreamTLS: "tls", StreamPassthrough: "tls_passthrough", StreamUDP: "udp"}

// StreamCounts are what is counted of a listener's streams.
type StreamCounts struct {
	Received Counter // bytes from clients, of streams that have ended
	Sent     Counter // bytes to clients

	DatagramsReceived Counter // from clients, of flows that have ended
	DatagramsSent     Counter

	sessions [len(streamNames)]Counter
	active   [len(streamNames)]Gauge
}

// Begin counts a stream in.
func (s *StreamCounts) Begin(k StreamKind) {
	s.sessions[k].Inc()
	s.active[k].Inc()
}

// End counts a stream out.
func (s *StreamCounts) End(k StreamKind) { s.active[k].Dec() }

// StreamMetrics are what is counted of the streams of all listeners.
type StreamMetrics struct {
	Ends     *CounterVec // bulwark_stream_terminations_total, by Options.StreamReasons
	Connect  Histogram   // bulwark_stream_connect_duration_seconds: admission to a connected upstream
	Duration Histogram   // bulwark_stream_duration_seconds
}

// streamDescs describe them.
type streamDescs struct {
	sessions, active, bytes, datagrams, ends, connect, duration *prometheus.Desc
}

func newStreamDescs(desc func(name, help string, labels ...string) *prometheus.Desc) streamDescs {
	return streamDescs{
		sessions:  desc("bulwark_stream_sessions_total", "Streams begun, by protocol.", "listener", "protocol"),
		active:    desc("bulwark_stream_sessions_active", "Streams being served, by protocol.", "listener", "protocol"),
		bytes:     desc("bulwark_stream_bytes_total", "Bytes of streams that have ended, from clients (ingress) and to them (egress).", "listener", "direction"),
		datagrams: desc("bulwark_stream_datagrams_total", "Datagrams of flows that have ended, from clients (ingress) and to them (egress).", "listener", "direction"),
		ends:      desc("bulwark_stream_terminations_total", "Streams that ended, and connections that were to be streams, by reason code.", "reason"),
		connect:   desc("bulwark_stream_connect_duration_seconds", "Time from a stream's admission until its upstream was reached."),
		duration:  desc("bulwark_stream_duration_seconds", "Time from a stream's admission to its end."),
	}
}

// collectListener sends the present values of a listener.
func (d *streamDescs) collectListener(counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string), name string, s *StreamCounts) {
	used := false
	for k, protocol := range streamNames {
		n := s.sessions[k].Load()
		if n == 0 {
			continue // most listeners have streams of one protocol, or none
		}
		used = true
		counter(d.sessions, n, name, protocol)
		gauge(d.active, float64(s.active[k].Load()), name, protocol)
	}
	if !used {
		return
	}
	counter(d.bytes, s.Received.Load(), name, "ingress")
	counter(d.bytes, s.Sent.Load(), name, "egress")
	counter(d.datagrams, s.DatagramsReceived.Load(), name, "ingress")
	counter(d.datagrams, s.DatagramsSent.Load(), name, "egress")
}
