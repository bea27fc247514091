package l7

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// refLogEntry is the log entry made the plain way, which AppendLogEntry must
// equal byte for byte.
func refLogEntry(x *Exchange, b []byte) []byte {
	b = append(b, `{"request":`...)
	b = refRequest(x, b)
	b = append(b, `,"response":{"status":`...)
	b = strconv.AppendInt(b, int64(x.LogStatus()), 10)
	b = append(b, `,"headers":`...)
	b = refHeader(b, &x.Resp.Header)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, x.Sent, 10)
	b = append(b, `},"upstream_uri":`...)
	b = refUpstreamURI(x, b)
	b = append(b, `,"upstream_status":"`...)
	for i := range x.Tries {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = refStatus(&x.Tries[i], b)
	}
	b = append(b, `","latencies":`...)
	b = refLatencies(x, b)
	b = append(b, `,"tries":[`...)
	for i := range x.Tries {
		if i > 0 {
			b = append(b, ',')
		}
		b = refTry(&x.Tries[i], b)
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
		b = refJSON(b, x.Consumer.ID.String())
		b = refJSONOrNull(append(b, `,"username":`...), x.Consumer.Username)
		b = refJSONOrNull(append(b, `,"custom_id":`...), x.Consumer.CustomID)
		b = append(b, '}')
	}
	b = append(b, `,"client_ip":`...)
	b = refJSON(b, x.ClientIP())
	b = append(b, `,"started_at":`...)
	b = strconv.AppendInt(b, x.Started().UnixMilli(), 10)
	b = append(b, `,"source":"`...)
	b = append(b, x.source()...)
	b = append(b, `","workspace_name":"default"`...)
	for _, v := range x.logValues {
		b = append(b, ',')
		b = refJSON(b, v.Name)
		b = append(b, ':')
		b = refJSON(b, v.Value)
	}
	if r := x.Reason(); r != ReasonNone {
		b = append(b, `,"reason":"`...)
		b = append(b, r.String()...)
		b = append(b, '"')
	}
	return append(b, '}')
}

func refRequest(x *Exchange, b []byte) []byte {
	r := &x.Req
	b = append(append(b, `{"id":"`...), x.ID...)
	b = append(b, `","method":`...)
	b = refJSON(b, r.Method)
	b = append(b, `,"uri":`...)
	b = refJSON(b, r.Target)
	b = append(b, `,"url":`...)
	b = refURL(x, b)
	b = append(b, `,"querystring":`...)
	b = refQuery(b, r.Query)
	b = append(b, `,"headers":`...)
	b = refHeader(b, &r.Header)
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
func refURL(x *Exchange, b []byte) []byte {
	host, _ := splitAuthority(x.Req.Authority)
	b = append(append(append(b, '"'), x.Conn.Scheme()...), "://"...)
	b = append(refJSONText(b, host), ':')
	b = append(b, x.Conn.LocalPort...)
	return append(refTarget(b, x.Req.Path, x.Req.Query, x.Req.HasQuery), '"')
}

// refTarget appends path?query as a part of a JSON string.
func refTarget(b []byte, path, query string, hasQuery bool) []byte {
	b = refJSONText(b, path)
	if hasQuery {
		b = refJSONText(append(b, '?'), query)
	}
	return b
}

func refUpstreamURI(x *Exchange, b []byte) []byte {
	u := &x.Upstream
	return append(refTarget(append(b, '"'), u.Path, u.Query, u.HasQuery), '"')
}

// appendLatencies appends Kong's four figures in milliseconds: proxy is the
// wait for the upstream's head (-1 without one), receive the rest, kong what
// was spent here before.
func refLatencies(x *Exchange, b []byte) []byte {
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

func refStatus(t *Try, b []byte) []byte {
	switch {
	case t.Status != 0:
		return strconv.AppendInt(b, int64(t.Status), 10)
	case t.Err != nil:
		return strconv.AppendInt(b, int64(t.Err.Status), 10)
	}
	return append(b, '-')
}

func refTry(t *Try, b []byte) []byte {
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

// refHeader appends the fields as an object with lower-case names;
// repeated fields become an array.
func refHeader(b []byte, h *Header) []byte {
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
		b = append(refLowerJSON(b, f.Name), ':')
		if f.ID == FieldAuthorization || f.ID == FieldProxyAuthorization {
			b = append(b, `"REDACTED"`...)
			continue
		}
		if !repeats(fields[i+1:], f.Name) {
			b = refJSON(b, f.Value)
			continue
		}
		b = append(b, '[')
		b = refJSON(b, f.Value)
		for j := i + 1; j < len(fields); j++ {
			if equalFold(fields[j].Name, f.Name) {
				b = refJSON(append(b, ','), fields[j].Value)
			}
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// refQuery appends the decoded query arguments; a name without "=" is
// true and a repeated name keeps its first value.
func refQuery(b []byte, query string) []byte {
	b = append(b, '{')
	var seen [maxLogArgs]string
	n := 0
	for arg := range strings.SplitSeq(query, "&") {
		name, value, hasValue := strings.Cut(arg, "=")
		name = strings.Map(func(r rune) rune { return r }, unescapeQuery(name)) // U+FFFD for what is not UTF-8
		if name == "" || n == maxLogArgs || refRepeatsArg(seen[:n], name) {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		seen[n] = name
		n++
		b = append(refJSON(b, name), ':')
		if hasValue {
			b = refJSON(b, unescapeQuery(value))
		} else {
			b = append(b, "true"...)
		}
	}
	return append(b, '}')
}

func refRepeatsArg(seen []string, name string) bool {
	for _, s := range seen {
		if s == name {
			return true
		}
	}
	return false
}

func refJSONOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return refJSON(b, s)
}

// refLowerJSON appends s as a JSON string with ASCII letters in lower case,
// which those of escapes are anyway.
func refLowerJSON(b []byte, s string) []byte {
	from := len(b)
	b = refJSON(b, s)
	for i := from; i < len(b); i++ {
		if c := b[i]; 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// refJSON appends s as a JSON string.
func refJSON(b []byte, s string) []byte {
	return append(refJSONText(append(b, '"'), s), '"')
}

// refJSONText appends s as a part of a JSON string. Bytes that are not UTF-8
// become U+FFFD, so that a line is always valid JSON.
func refJSONText(b []byte, s string) []byte {
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
