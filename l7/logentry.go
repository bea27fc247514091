package l7

import (
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// maxLogLine bounds an access-log line, in bytes: the largest head there can
// be, written with escapes, and our own part.
const maxLogLine = 256 << 10

// writeAccessLog hands the exchange's line to the log, which never blocks.
func (p *Pipeline) writeAccessLog(x *Exchange) {
	if line := x.LogLine(); line != nil {
		p.AccessLog.Write(line)
	} else {
		p.Metrics.AccessLog.Dropped.Inc()
	}
}

// LogLine returns the exchange's log entry with a newline, made once for all
// logs that want it, or nil if it is longer than 256 KiB, which then counts as a
// lost line. It is valid from a Log hook on until the hook returns, and not to
// be changed.
func (x *Exchange) LogLine() []byte {
	if x.line == nil {
		if x.lineBlock == nil {
			x.lineBlock = buf.Get(buf.Medium) // goes back in Release
		}
		x.line = append(x.AppendLogEntry(x.lineBlock.B[:0]), '\n')
	}
	if len(x.line) > maxLogLine {
		return nil
	}
	return x.line
}

// AppendLogEntry appends the exchange as one JSON object in the shape of
// Kong's log serializer (kong.log.serialize), beside it `reason`, our code of
// an early termination. It is valid from a Log hook on.
func (x *Exchange) AppendLogEntry(b []byte) []byte {
	b = append(b, `{"request":`...)
	b = x.appendLogRequest(b)
	b = append(b, `,"response":{"status":`...)
	b = appendNumber(b, int64(x.LogStatus()))
	b = append(b, `,"headers":`...)
	b = appendLogHeader(b, &x.Resp.Header)
	b = append(b, `,"size":`...)
	b = appendNumber(b, x.Sent)
	b = append(b, `},"upstream_uri":`...)
	b = x.appendLogUpstreamURI(b)
	b = append(b, `,"upstream_status":"`...)
	for i := range x.Tries {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = x.Tries[i].appendStatus(b)
	}
	b = append(b, `","latencies":`...)
	b = x.appendLatencies(b)
	b = append(b, `,"tries":[`...)
	for i := range x.Tries {
		if i > 0 {
			b = append(b, ',')
		}
		b = x.Tries[i].appendLog(b)
	}
	b = append(b, ']')
	if x.Route != nil {
		b = append(append(b, `,"route":`...), x.Route.LogJSON()...)
		if x.Route.Service != nil {
			b = append(append(b, `,"service":`...), x.Route.Service.LogJSON()...)
		}
	}
	if x.Credential != "" {
		b = append(b, `,"authenticated_entity":{"id":`...)
		b = appendJSON(b, x.Credential)
		if x.Consumer != nil {
			b = appendJSON(append(b, `,"consumer_id":`...), x.Consumer.ID.String())
		}
		b = append(b, '}')
	}
	if x.Consumer != nil {
		b = append(b, `,"consumer":{"id":`...)
		b = appendJSON(b, x.Consumer.ID.String())
		b = appendJSONOrNull(append(b, `,"username":`...), x.Consumer.Username)
		b = appendJSONOrNull(append(b, `,"custom_id":`...), x.Consumer.CustomID)
		b = append(b, '}')
	}
	b = append(b, `,"client_ip":`...)
	b = appendJSON(b, x.ClientIP())
	b = append(b, `,"started_at":`...)
	b = appendNumber(b, x.Started().UnixMilli())
	b = append(b, `,"source":"`...)
	b = append(b, x.source()...)
	b = append(b, `","workspace_name":"default"`...)
	for i := range x.logValues {
		v := &x.logValues[i]
		b = append(appendJSON(append(b, ','), v.Name), ':')
		b = appendJSON(b, v.Value)
	}
	if r := x.Reason(); r != ReasonNone {
		b = append(b, `,"reason":"`...)
		b = append(b, r.String()...)
		b = append(b, '"')
	}
	return append(b, '}')
}

func (x *Exchange) source() string {
	if x.Proxied {
		return "upstream"
	}
	return "kong"
}

func (x *Exchange) appendLogRequest(b []byte) []byte {
	r := &x.Req
	b = append(append(b, `{"id":"`...), x.ID...)
	b = append(b, `","method":`...)
	b = appendJSON(b, r.Method)
	b = append(b, `,"uri":`...)
	b = appendJSON(b, r.Target)
	b = append(b, `,"url":`...)
	b = x.appendLogURL(b)
	b = append(b, `,"querystring":`...)
	b = appendLogQuery(b, r.Query)
	b = append(b, `,"headers":`...)
	b = appendLogHeader(b, &r.Header)
	b = append(b, `,"size":`...)
	b = appendNumber(b, int64(r.HeadSize)+max(r.ContentLength, 0))
	if t := x.Conn.TLS; t != nil {
		b = append(append(append(b, `,"tls":{"version":"`...), t.Version...), `","cipher":"`...)
		b = append(append(b, t.Cipher...), `","client_verify":`...)
		b = append(appendJSON(b, x.clientVerify(t)), '}')
	}
	return append(b, '}')
}

// appendLogURL appends scheme://host:port/target, as Kong does, with the port
// the request came in on.
func (x *Exchange) appendLogURL(b []byte) []byte {
	host := x.Host
	if host == "" {
		host, _ = splitAuthority(x.Req.Authority) // the router was not asked
	}
	b = append(append(append(b, '"'), x.Conn.Scheme()...), "://"...)
	b = append(appendJSONText(b, host), ':')
	b = append(b, x.Conn.LocalPort...)
	return append(appendJSONTarget(b, x.Req.Path, x.Req.Query, x.Req.HasQuery), '"')
}

// appendJSONTarget appends path?query as a part of a JSON string.
func appendJSONTarget(b []byte, path, query string, hasQuery bool) []byte {
	b = appendJSONText(b, path)
	if hasQuery {
		b = appendJSONText(append(b, '?'), query)
	}
	return b
}

func (x *Exchange) appendLogUpstreamURI(b []byte) []byte {
	u := &x.Upstream
	return append(appendJSONTarget(append(b, '"'), u.Path, u.Query, u.HasQuery), '"')
}

// Latencies returns what the log entry tells, but for what it can be reckoned
// from: the whole exchange, the time that was spent here before the upstream was
// asked, or all if it was not, and the wait for the upstream's head, negative
// without one. It is valid from a Log hook on.
func (x *Exchange) Latencies() (request, kong, proxy time.Duration) {
	request = time.Duration(x.ended - x.started)
	if x.Proxied {
		return request, time.Duration(x.forwarded - x.started), time.Duration(x.answered - x.forwarded)
	}
	return request, request, -1
}

// appendLatencies appends Kong's four figures in milliseconds: proxy is the
// wait for the upstream's head (-1 without one), receive the rest, kong what
// was spent here before.
func (x *Exchange) appendLatencies(b []byte) []byte {
	request, kong, proxy := x.Latencies()
	receive := time.Duration(0)
	if proxy >= 0 {
		receive = request - kong - proxy
	} else {
		proxy = -time.Millisecond
	}
	b = append(b, `{"request":`...)
	b = appendNumber(b, request.Milliseconds())
	b = append(b, `,"kong":`...)
	b = appendNumber(b, kong.Milliseconds())
	b = append(b, `,"proxy":`...)
	b = appendNumber(b, proxy.Milliseconds())
	b = append(b, `,"receive":`...)
	b = appendNumber(b, receive.Milliseconds())
	return append(b, '}')
}

func (t *Try) appendStatus(b []byte) []byte {
	switch {
	case t.Status != 0:
		return appendNumber(b, int64(t.Status))
	case t.Err != nil:
		return appendNumber(b, int64(t.Err.Status))
	}
	return append(b, '-')
}

func (t *Try) appendLog(b []byte) []byte {
	b = append(b, `{"ip":"`...)
	b = t.Addr.Addr().AppendTo(b)
	b = append(b, `","port":`...)
	b = appendNumber(b, int64(t.Addr.Port()))
	started := sock.Time(t.Started).UnixNano()
	b = appendNumber(append(b, `,"balancer_start":`...), started/int64(time.Millisecond))
	b = appendNumber(append(b, `,"balancer_start_ns":`...), started)
	b = append(b, `,"balancer_latency":`...)
	b = appendNumber(b, t.Latency.Milliseconds())
	b = append(b, `,"balancer_latency_ns":`...)
	b = appendNumber(b, int64(t.Latency))
	switch {
	case t.Err != nil:
		b = append(b, `,"state":"failed","code":`...)
		b = appendNumber(b, int64(t.Err.Status))
		b = append(append(append(b, `,"reason":"`...), t.Err.Reason.String()...), '"')
	case t.Cancelled:
		b = append(b, `,"state":"cancelled"`...)
	}
	if t.Hedge {
		b = append(b, `,"hedge":true`...)
	}
	return append(b, '}')
}
