package l7

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// maxLogLine bounds an access-log line, in bytes: the largest head there can
// be, written with escapes, and our own part.
const maxLogLine = 256 << 10

// writeAccessLog makes the exchange's log entry and hands it to the log, which
// never blocks. A line beyond maxLogLine counts as dropped.
func (p *Pipeline) writeAccessLog(x *Exchange) {
	b := buf.Get(buf.Medium)
	defer b.Put()
	line := x.AppendLogEntry(b.B[:0])
	if len(line) >= maxLogLine {
		p.Metrics.AccessLog.Dropped.Inc()
		return
	}
	p.AccessLog.Write(append(line, '\n'))
}

// AppendLogEntry appends the exchange as one JSON object in the shape of
// Kong's log serializer (kong.log.serialize), beside it `reason`, our code of
// an early termination. It is valid from a Log hook on.
func (x *Exchange) AppendLogEntry(b []byte) []byte {
	b = append(b, `{"request":`...)
	b = x.appendLogRequest(b)
	b = append(b, `,"response":{"status":`...)
	b = strconv.AppendInt(b, int64(x.LogStatus()), 10)
	b = append(b, `,"headers":`...)
	b = appendLogHeader(b, &x.Resp.Header)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, x.Sent, 10)
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
	b = strconv.AppendInt(b, x.Started().UnixMilli(), 10)
	b = append(b, `,"source":"`...)
	b = append(b, x.source()...)
	b = append(b, `","workspace_name":"default"`...)
	for _, v := range x.logValues {
		b = append(b, ',')
		b = appendJSON(b, v.Name)
		b = append(b, ':')
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
	b = strconv.AppendInt(b, int64(r.HeadSize)+max(r.ContentLength, 0), 10)
	if t := x.Conn.TLS; t != nil {
		b = append(append(append(b, `,"tls":{"version":"`...), t.Version...), `","cipher":"`...)
		b = append(append(b, t.Cipher...), `","client_verify":"NONE"}`...)
	}
	return append(b, '}')
}

// appendLogURL appends scheme://host:port/target, as Kong does, with the port
// the request came in on.
func (x *Exchange) appendLogURL(b []byte) []byte {
	host, _ := splitAuthority(x.Req.Authority)
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
	for _, l := range []struct {
		name string
		d    time.Duration
	}{{`{"request":`, request}, {`,"kong":`, kong}, {`,"proxy":`, proxy}, {`,"receive":`, receive}} {
		b = strconv.AppendInt(append(b, l.name...), l.d.Milliseconds(), 10)
	}
	return append(b, '}')
}

func (t *Try) appendStatus(b []byte) []byte {
	switch {
	case t.Status != 0:
		return strconv.AppendInt(b, int64(t.Status), 10)
	case t.Err != nil:
		return strconv.AppendInt(b, int64(t.Err.Status), 10)
	}
	return append(b, '-')
}

func (t *Try) appendLog(b []byte) []byte {
	b = append(b, `{"ip":"`...)
	b = t.Addr.Addr().AppendTo(b)
	b = append(b, `","port":`...)
	b = strconv.AppendInt(b, int64(t.Addr.Port()), 10)
	b = append(b, `,"balancer_start":`...)
	b = strconv.AppendInt(b, sock.Time(t.Started).UnixMilli(), 10)
	b = append(b, `,"balancer_start_ns":`...)
	b = strconv.AppendInt(b, sock.Time(t.Started).UnixNano(), 10)
	b = append(b, `,"balancer_latency":`...)
	b = strconv.AppendInt(b, t.Latency.Milliseconds(), 10)
	b = append(b, `,"balancer_latency_ns":`...)
	b = strconv.AppendInt(b, int64(t.Latency), 10)
	if t.Err != nil {
		b = append(b, `,"state":"failed","code":`...)
		b = strconv.AppendInt(b, int64(t.Err.Status), 10)
		b = append(append(append(b, `,"reason":"`...), t.Err.Reason.String()...), '"')
	}
	return append(b, '}')
}

// appendLogHeader appends the fields as an object with lower-case names;
// repeated fields become an array.
func appendLogHeader(b []byte, h *Header) []byte {
	b = append(b, '{')
	fields := h.Fields()
	first := true
	for i := range fields {
		f := &fields[i]
		if repeats(fields[:i], f.Name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendLowerJSON(b, f.Name), ':')
		if f.ID == FieldAuthorization || f.ID == FieldProxyAuthorization {
			b = append(b, `"REDACTED"`...)
			continue
		}
		if !repeats(fields[i+1:], f.Name) {
			b = appendJSON(b, f.Value)
			continue
		}
		b = append(b, '[')
		b = appendJSON(b, f.Value)
		for j := i + 1; j < len(fields); j++ {
			if equalFold(fields[j].Name, f.Name) {
				b = appendJSON(append(b, ','), fields[j].Value)
			}
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func repeats(fields []Field, name string) bool {
	for i := range fields {
		if equalFold(fields[i].Name, name) {
			return true
		}
	}
	return false
}

func equalFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// maxLogArgs bounds the query arguments of a log entry, as Kong's
// lua_max_uri_args does.
const maxLogArgs = 100

// appendLogQuery appends the decoded query arguments; a name without "=" is
// true and a repeated name keeps its first value.
func appendLogQuery(b []byte, query string) []byte {
	b = append(b, '{')
	var seen [maxLogArgs]string
	n := 0
	for arg := range strings.SplitSeq(query, "&") {
		name, value, hasValue := strings.Cut(arg, "=")
		if name == "" || n == maxLogArgs || repeatsArg(seen[:n], name) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		seen[n] = name
		n++
		b = append(appendJSON(b, unescapeQuery(name)), ':')
		if hasValue {
			b = appendJSON(b, unescapeQuery(value))
		} else {
			b = append(b, "true"...)
		}
	}
	return append(b, '}')
}

func repeatsArg(seen []string, name string) bool {
	for _, s := range seen {
		if s == name {
			return true
		}
	}
	return false
}

// unescapeQuery decodes %XX and "+"; what is no escape stays as it is, since a
// log tells what was sent.
func unescapeQuery(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s):
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
			fallthrough
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

func appendJSONOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendJSON(b, s)
}

// appendLowerJSON appends s as a JSON string with ASCII letters in lower case,
// which those of escapes are anyway.
func appendLowerJSON(b []byte, s string) []byte {
	from := len(b)
	b = appendJSON(b, s)
	for i := from; i < len(b); i++ {
		if c := b[i]; 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

const hexDigits = "0123456789abcdef"

// appendJSON appends s as a JSON string.
func appendJSON(b []byte, s string) []byte {
	return append(appendJSONText(append(b, '"'), s), '"')
}

// appendJSONText appends s as a part of a JSON string. Bytes that are not UTF-8
// become U+FFFD, so that a line is always valid JSON.
func appendJSONText(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(b, s[start:]...)
}
