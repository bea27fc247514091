package h2

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestMalformed shows that a malformed request (RFC 9113 section 8.1.1) is
// answered by a reset alone, and that the connection goes on.
func TestMalformed(t *testing.T) {
	pseudo := func(list ...string) []string { return list }
	tests := []struct {
		name string
		list []string
	}{
		{"no :method", pseudo(":scheme", "http", ":authority", "a", ":path", "/")},
		{"no :scheme", pseudo(":method", "GET", ":authority", "a", ":path", "/")},
		{"no :path", pseudo(":method", "GET", ":scheme", "http", ":authority", "a")},
		{"no authority", pseudo(":method", "GET", ":scheme", "http", ":path", "/")},
		{"empty :path", pseudo(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "")},
		{"empty :authority", pseudo(":method", "GET", ":scheme", "http", ":authority", "", ":path", "/")},
		{"two :method", request("GET", "/", ":method", "GET")},
		{"two :path", request("GET", "/", ":path", "/")},
		{"unknown pseudo", request("GET", "/", ":foo", "x")},
		{":status", request("GET", "/", ":status", "200")},
		{"pseudo behind a field", append(pseudo("x", "y"), get("/")...)},
		{"bad :scheme", pseudo(":method", "GET", ":scheme", "gopher", ":authority", "a", ":path", "/")},
		{"bad :method", request("G T", "/")},
		{"long :method", request(strings.Repeat("M", 33), "/")},
		{"path without slash", request("GET", "a")},
		{"path with a space", request("GET", "/a b")},
		{"path with a control", request("GET", "/a\x01")},
		{"path with a fragment", request("GET", "/#a")},
		{"path with a backslash", request("GET", `/\a`)},
		{"path with a broken escape", request("GET", "/%4")},
		{"asterisk", request("GET", "*")},
		{"absolute path", request("GET", "http://a.test/")},
		{"userinfo", pseudo(":method", "GET", ":scheme", "http", ":authority", "u@a", ":path", "/")},
		{"Host differs", get("/", "host", "b.test")},
		{"Host twice", get("/", "host", "a.test", "host", "a.test")},
		{"upper case", get("/", "X-Upper", "1")},
		{"empty name", get("/", "", "1")},
		{"name with a space", get("/", "a b", "1")},
		{"name with a colon", get("/", "a:b", "1")},
		{"name with a byte above ASCII", get("/", "a\xe9", "1")},
		{"value with CR", get("/", "a", "x\rb")},
		{"value with LF", get("/", "a", "x\nb: c")},
		{"value with NUL", get("/", "a", "x\x00")},
		{"value with DEL", get("/", "a", "x\x7f")},
		{"value with space in front", get("/", "a", " x")},
		{"value with a tab behind", get("/", "a", "x\t")},
		{"connection", get("/", "connection", "close")},
		{"keep-alive", get("/", "keep-alive", "1")},
		{"proxy-connection", get("/", "proxy-connection", "close")},
		{"transfer-encoding", get("/", "transfer-encoding", "chunked")},
		{"upgrade", get("/", "upgrade", "websocket")},
		{"te", get("/", "te", "trailers, deflate")},
		{"content-length of no number", get("/", "content-length", "1x")},
		{"content-length signed", get("/", "content-length", "+0")},
		{"content-length twice", get("/", "content-length", "0", "content-length", "0")},
		{"content-length without content", get("/", "content-length", "5")},
		{"CONNECT with a path", request("CONNECT", "/")},
		{":protocol of GET", get("/", ":protocol", "websocket")},
		{":protocol without path", pseudo(":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, echo, nil)
			e.headers(1, true, tt.list...)
			e.want("RST_STREAM 1 PROTOCOL_ERROR")
			e.headers(3, true, get("/next")...)
			e.want(ok(3, "GET /next")...)
			if err := e.rejected.Load(); err == nil || err.Reason != l7.ReasonBadRequest || e.served.Load() != 1 {
				t.Errorf("rejected with %v, served %d", err, e.served.Load())
			}
			if e.glitches(glitchStream) != 1 {
				t.Error("no glitch was counted")
			}
		})
	}
}

// TestRefused shows the requests that are answered and not served.
func TestRefused(t *testing.T) {
	many := get("/")
	for range 100 {
		many = append(many, "x", "y")
	}
	tests := []struct {
		name, want string
		list       []string
	}{
		{"CONNECT", "405", []string{":method", "CONNECT", ":authority", "a.test:443"}},
		{"another protocol", "501", append([]string{":protocol", "connect-udp"}, request("CONNECT", "/")...)},
		{"too many fields", "431", many},
		{"too large", "431", get("/", "a", strings.Repeat("x", 9<<10), "b", strings.Repeat("y", 9<<10))},
		{"target", "414", get("/" + strings.Repeat("x", 9<<10))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, echo, nil)
			block := e.fields(tt.list...)
			first := min(len(block), 16000)
			e.check(e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:first], EndStream: true, EndHeaders: first == len(block)}))
			if first < len(block) {
				e.check(e.fr.WriteContinuation(1, true, block[first:]))
			}
			if got := e.next(); !strings.HasPrefix(got, "HEADERS 1 :status="+tt.want) {
				t.Errorf("answered %q", got)
			}
			e.next()
			e.alive()
			if e.served.Load() != 0 {
				t.Error("it was served")
			}
		})
	}
}

// TestFrames holds frames at moments and of forms at which they may not come
// against what is due for them.
func TestFrames(t *testing.T) {
	const preface = 0
	open := func(e *engine) { e.headers(1, false, request("POST", "/")...) }
	done := func(e *engine) {
		e.headers(1, true, get("/")...)
		e.want(ok(1, "GET /")...)
	}
	goAway := func(last, code string) []string { return []string{"GOAWAY " + last + " " + code, "closed"} }
	raw := func(e *engine, kind http2.FrameType, flags http2.Flags, id uint32, payload string) {
		e.check(e.fr.WriteRawFrame(kind, flags, id, []byte(payload)))
	}
	tests := []struct {
		name string
		send func(e *engine)
		want []string
	}{
		{"DATA on stream 0", func(e *engine) { raw(e, http2.FrameData, 0, 0, "x") }, goAway("0", "PROTOCOL_ERROR")},
		{"DATA on an idle stream", func(e *engine) { raw(e, http2.FrameData, 0, 1, "x") }, goAway("0", "PROTOCOL_ERROR")},
		{"DATA behind the end", func(e *engine) { done(e); raw(e, http2.FrameData, 0, 1, "x") }, []string{"RST_STREAM 1 STREAM_CLOSED"}},
		{"padding longer than the frame", func(e *engine) { open(e); raw(e, http2.FrameData, http2.FlagDataPadded, 1, "\x09x") }, goAway("1", "PROTOCOL_ERROR")},
		{"more than announced", func(e *engine) {
			e.headers(1, false, request("POST", "/", "content-length", "2")...)
			raw(e, http2.FrameData, 0, 1, "xyz")
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"less than announced", func(e *engine) {
			e.headers(1, false, request("POST", "/", "content-length", "2")...)
			raw(e, http2.FrameData, http2.FlagDataEndStream, 1, "x")
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"less than announced, with a trailer", func(e *engine) {
			e.headers(1, false, request("POST", "/", "content-length", "2")...)
			e.headers(1, true, "x", "y")
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"a trailer that does not end", func(e *engine) { open(e); e.headers(1, false, "x", "y") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"a trailer with a pseudo field", func(e *engine) { open(e); e.headers(1, true, ":path", "/") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"a trailer that frames", func(e *engine) { open(e); e.headers(1, true, "content-length", "0") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"HEADERS with an even number", func(e *engine) { e.headers(2, true, get("/")...) }, goAway("0", "PROTOCOL_ERROR")},
		{"HEADERS with a lower number", func(e *engine) {
			e.headers(5, true, get("/")...)
			e.want(ok(5, "GET /")...)
			e.headers(3, true, get("/")...)
		}, goAway("5", "PROTOCOL_ERROR")},
		{"HEADERS on an ended stream", func(e *engine) { done(e); e.headers(1, true, get("/")...) }, goAway("1", "STREAM_CLOSED")},
		{"HEADERS that depend on themselves", func(e *engine) {
			e.check(e.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 1, BlockFragment: e.fields(get("/")...), EndStream: true, EndHeaders: true,
				Priority: http2.PriorityParam{StreamDep: 1},
			}))
		}, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"a block that cannot be decoded", func(e *engine) { raw(e, http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\xff\xff\xff\xff\xff") }, goAway("1", "COMPRESSION_ERROR")},
		{"a block that is cut", func(e *engine) { raw(e, http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\x40\x05ab") }, goAway("1", "COMPRESSION_ERROR")},
		{"PING within a block", func(e *engine) { raw(e, http2.FrameHeaders, 0, 1, "\x82"); raw(e, http2.FramePing, 0, 0, "12345678") }, goAway("1", "PROTOCOL_ERROR")},
		{"CONTINUATION of another stream", func(e *engine) {
			raw(e, http2.FrameHeaders, 0, 1, "\x82")
			raw(e, http2.FrameContinuation, 0, 3, "\x82")
		}, goAway("1", "PROTOCOL_ERROR")},
		{"CONTINUATION alone", func(e *engine) { raw(e, http2.FrameContinuation, 0, 1, "\x82") }, goAway("0", "PROTOCOL_ERROR")},
		{"SETTINGS of a stream", func(e *engine) { raw(e, http2.FrameSettings, 0, 1, "") }, goAway("0", "PROTOCOL_ERROR")},
		{"SETTINGS of an odd length", func(e *engine) { raw(e, http2.FrameSettings, 0, 0, "abc") }, goAway("0", "FRAME_SIZE_ERROR")},
		{"SETTINGS acknowledged with content", func(e *engine) { raw(e, http2.FrameSettings, http2.FlagSettingsAck, 0, "abcdef") }, goAway("0", "FRAME_SIZE_ERROR")},
		{"a window too large", func(e *engine) {
			e.check(e.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
		}, goAway("0", "FLOW_CONTROL_ERROR")},
		{"a frame size too small", func(e *engine) {
			e.check(e.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1000}))
		}, goAway("0", "PROTOCOL_ERROR")},
		{"push that is neither on nor off", func(e *engine) {
			e.check(e.fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2}))
		}, goAway("0", "PROTOCOL_ERROR")},
		{"PING of a stream", func(e *engine) { raw(e, http2.FramePing, 0, 1, "12345678") }, goAway("0", "PROTOCOL_ERROR")},
		{"PING of an odd length", func(e *engine) { raw(e, http2.FramePing, 0, 0, "1") }, goAway("0", "FRAME_SIZE_ERROR")},
		{"WINDOW_UPDATE by nothing", func(e *engine) { e.check(e.fr.WriteWindowUpdate(0, 0)) }, goAway("0", "PROTOCOL_ERROR")},
		{"WINDOW_UPDATE of a stream by nothing", func(e *engine) { open(e); e.check(e.fr.WriteWindowUpdate(1, 0)) }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"WINDOW_UPDATE by too much", func(e *engine) { e.check(e.fr.WriteWindowUpdate(0, 1<<31-1)) }, goAway("0", "FLOW_CONTROL_ERROR")},
		{"WINDOW_UPDATE of a stream by too much", func(e *engine) { open(e); e.check(e.fr.WriteWindowUpdate(1, 1<<31-1)) }, []string{"RST_STREAM 1 FLOW_CONTROL_ERROR"}},
		{"WINDOW_UPDATE of an idle stream", func(e *engine) { e.check(e.fr.WriteWindowUpdate(1, 1)) }, goAway("0", "PROTOCOL_ERROR")},
		{"RST_STREAM of an idle stream", func(e *engine) { e.check(e.fr.WriteRSTStream(1, http2.ErrCodeCancel)) }, goAway("0", "PROTOCOL_ERROR")},
		{"RST_STREAM of an odd length", func(e *engine) { open(e); raw(e, http2.FrameRSTStream, 0, 1, "abc") }, goAway("1", "FRAME_SIZE_ERROR")},
		{"PRIORITY of an odd length", func(e *engine) { raw(e, http2.FramePriority, 0, 1, "abc") }, goAway("0", "FRAME_SIZE_ERROR")},
		{"PUSH_PROMISE", func(e *engine) {
			e.check(e.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, BlockFragment: e.fields(get("/")...), EndHeaders: true}))
		}, goAway("0", "PROTOCOL_ERROR")},
		{"an unknown frame", func(e *engine) { raw(e, 0x42, 0xff, 7, "whatever") }, nil},
		{"a frame too large", func(e *engine) { raw(e, http2.FrameData, 0, 1, strings.Repeat("x", 16385)) }, goAway("0", "FRAME_SIZE_ERROR")},
		{"more than a stream's window", func(e *engine) {
			open(e)
			for range 9 {
				raw(e, http2.FrameData, 0, 1, strings.Repeat("x", 16384))
			}
		}, []string{"RST_STREAM 1 FLOW_CONTROL_ERROR"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			release := make(chan struct{})
			e := start(t, func(x *l7.Exchange) {
				if x.Req.Method == "POST" {
					<-release // content stays where it is
					x.Wire.Abort(l7.ReasonClientGone)
					return
				}
				echo(x)
			}, nil)
			defer close(release)
			tt.send(e)
			e.want(tt.want...)
			if n := len(tt.want); n == preface || tt.want[n-1] != "closed" {
				e.alive()
			}
		})
	}
}

func TestPreface(t *testing.T) {
	t.Run("wrong", func(t *testing.T) {
		e := connect(t, echo, nil)
		e.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		e.want("SETTINGS", "WINDOW_UPDATE 0 458753", "GOAWAY 0 PROTOCOL_ERROR", "closed")
	})
	t.Run("without SETTINGS", func(t *testing.T) {
		e := connect(t, echo, nil)
		e.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		e.headers(1, true, get("/")...)
		e.want("SETTINGS", "WINDOW_UPDATE 0 458753", "GOAWAY 0 PROTOCOL_ERROR", "closed")
	})
}

// TestCutContent shows that what a malformed stream brought does not pass for
// the whole of its content.
func TestCutContent(t *testing.T) {
	failed := make(chan error, 1)
	e := start(t, func(x *l7.Exchange) {
		var b bytes.Buffer
		_, err := b.ReadFrom(struct{ l7.RequestBody }{x.Req.Body})
		failed <- err
		x.Wire.Abort(l7.ReasonClientGone)
	}, nil)
	e.headers(1, false, request("POST", "/", "content-length", "10")...)
	e.check(e.fr.WriteData(1, true, []byte("short")))
	e.want("RST_STREAM 1 PROTOCOL_ERROR")
	if err := <-failed; err == nil {
		t.Error("the content ends as if it were whole")
	}
	e.headers(3, false, request("POST", "/")...)
	e.check(e.fr.WriteRSTStream(3, http2.ErrCodeCancel))
	if err := <-failed; err == nil {
		t.Error("the content of a stream that was reset ends as if it were whole")
	}
}
