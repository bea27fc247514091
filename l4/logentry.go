package l4

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Status returns what Kong logs of a stream in place of a status, by the
// meanings of nginx: 200 for one that was served, however it ended, 400 for a
// client that could not be understood, 403 for one that was refused, 500, 502
// and 503 for what went wrong on our side or behind us.
func (s *Session) Status() int {
	switch s.Reason {
	case ReasonBadHello, ReasonTLSHandshake, ReasonOversize, ReasonProxyHeader:
		return 400
	case ReasonRefused:
		return 403
	case ReasonNoRoute, ReasonInternal:
		return 500
	case ReasonUpstreamConnect, ReasonUpstreamTimeout, ReasonUpstreamTLS:
		return 502
	case ReasonNoEndpoint, ReasonNameResolution, ReasonOverLimit:
		return 503
	}
	return 200
}

// Proxied reports whether an upstream was reached.
func (s *Session) Proxied() bool { return s.Connected != 0 }

// Latencies returns how long the stream has lasted, and what of that was spent
// before an upstream was reached, or all if none was.
func (s *Session) Latencies() (session, kong time.Duration) {
	session = time.Duration(s.Ended - s.Started)
	if s.Proxied() {
		return session, time.Duration(s.Connected - s.Started)
	}
	return session, session
}

// AppendLogEntry appends the stream as one JSON object in the shape of Kong's
// log serializer for streams, beside it `protocol`, `reason`, our code of why it
// ended, `tries_left_out`, the number of tries that are not listed, and
// `unlogged`. It is valid within a Log hook.
func (s *Session) AppendLogEntry(b []byte) []byte {
	b = append(b, `{"session":{`...)
	b = s.appendTLS(b)
	b = strconv.AppendInt(append(b, `"received":`...), s.Received, 10)
	b = strconv.AppendInt(append(b, `,"sent":`...), s.Sent, 10)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(s.Status()), 10)
	b = append(append(append(b, `,"server_port":`...), s.Info.LocalPort...), '}')
	b = strconv.AppendInt(append(b, `,"upstream":{"received":`...), s.UpstreamReceived, 10)
	b = strconv.AppendInt(append(b, `,"sent":`...), s.UpstreamSent, 10)
	session, kong := s.Latencies()
	b = strconv.AppendInt(append(b, `},"latencies":{"kong":`...), kong.Milliseconds(), 10)
	b = strconv.AppendInt(append(b, `,"session":`...), session.Milliseconds(), 10)
	b = append(b, `},"tries":[`...)
	for i := range s.Tries {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.Tries[i].appendLog(b)
	}
	b = append(b, ']')
	if s.LeftOut > 0 {
		b = strconv.AppendInt(append(b, `,"tries_left_out":`...), int64(s.LeftOut), 10)
	}
	if s.Route != nil {
		b = append(append(b, `,"route":`...), s.Route.LogJSON()...)
		if s.Route.Service != nil {
			b = append(append(b, `,"service":`...), s.Route.Service.LogJSON()...)
		}
	}
	b = append(append(append(b, `,"client_ip":"`...), s.Info.ClientIP...), '"')
	b = strconv.AppendInt(append(b, `,"started_at":`...), sock.Time(s.Started).UnixMilli(), 10)
	b = append(append(append(b, `,"source":"`...), s.source()...), '"')
	b = append(append(append(b, `,"workspace_name":"default","protocol":"`...), s.Protocol...), '"')
	if s.Reason != ReasonNone {
		b = append(append(append(b, `,"reason":"`...), s.Reason.String()...), '"')
	}
	if s.Unlogged > 0 {
		b = strconv.AppendUint(append(b, `,"unlogged":`...), s.Unlogged, 10)
	}
	return append(b, '}')
}

func (s *Session) source() string {
	if s.Proxied() {
		return "upstream"
	}
	return "kong"
}

// appendTLS appends what the handshake settled; of a stream that is passed
// through, the name it was routed by.
func (s *Session) appendTLS(b []byte) []byte {
	t, sni := s.Info.TLS, s.Info.ServerName()
	if t == nil && sni == "" {
		return b
	}
	b = append(b, `"tls":{`...)
	if t != nil {
		b = append(append(append(b, `"version":"`...), t.Version...), `","cipher":"`...)
		verify, _ := json.Marshal(t.ClientVerify()) // a string can be encoded
		b = append(append(append(b, t.Cipher...), `","client_verify":`...), verify...)
	}
	if sni != "" {
		if t != nil {
			b = append(b, ',')
		}
		name, _ := json.Marshal(sni) // a string can be encoded
		b = append(append(b, `"sni":`...), name...)
	}
	return append(b, "},"...)
}

func (t *Try) appendLog(b []byte) []byte {
	b = t.Addr.Addr().AppendTo(append(b, `{"ip":"`...))
	b = strconv.AppendUint(append(b, `","port":`...), uint64(t.Addr.Port()), 10)
	start := sock.Time(t.Started)
	b = strconv.AppendInt(append(b, `,"balancer_start":`...), start.UnixMilli(), 10)
	b = strconv.AppendInt(append(b, `,"balancer_start_ns":`...), start.UnixNano(), 10)
	b = strconv.AppendInt(append(b, `,"balancer_latency":`...), t.Latency.Milliseconds(), 10)
	b = strconv.AppendInt(append(b, `,"balancer_latency_ns":`...), int64(t.Latency), 10)
	if t.Reason != ReasonNone {
		b = append(append(append(b, `,"state":"failed","code":502,"reason":"`...), t.Reason.String()...), '"')
	}
	return append(b, '}')
}
