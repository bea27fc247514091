package h2

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// calling is a client under test and the upstream that it asks.
type calling struct {
	t      testing.TB
	client *Client
	pool   *upstream.Pool
	ln     net.Listener
}

func startCalling(t testing.TB) *calling {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	set := upstream.NewSet()
	at := ln.Addr().(*net.TCPAddr).AddrPort()
	b := upstream.NewBalancer(set, upstream.Spec{Targets: []upstream.Target{{Host: at.Addr().String(), Port: at.Port(), Weight: 1}}}, nil)
	e, err := b.Pick(new(upstream.Choice))
	if err != nil || e.Addr != netip.AddrPortFrom(at.Addr(), at.Port()) {
		t.Fatal(e, err)
	}
	m := telemetry.NewMetrics(telemetry.Options{Reasons: l7.ReasonNames(), HTTP2Glitches: GlitchNames()})
	cl := NewClient(m, slog.New(slog.DiscardHandler), ClientSettings{
		Limits: syntax.Limits{HeadBytes: 16 << 10, TargetBytes: 8 << 10, Fields: 100, TrailerBytes: 8 << 10},
		Idle:   8, IdleTimeout: patience, Requests: 1000,
	})
	t.Cleanup(func() { ln.Close(); cl.Close(); set.Close() })
	return &calling{t, cl, e.Pool(nil, ""), ln}
}

// open begins a call.
func (c *calling) open() l7.Call {
	c.t.Helper()
	call, d, err := c.client.Open(c.pool, patience)
	if d != nil {
		conn, dialErr := c.pool.Dial(patience)
		if dialErr != nil {
			c.t.Fatal(dialErr)
		}
		call, err = d.Use(conn)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return call
}

// ask begins a call and sends a request without content.
func (c *calling) ask() l7.Call {
	c.t.Helper()
	call := c.open()
	head := &l7.CallHead{Method: "POST", Scheme: "http", Authority: "a.test", Path: "/", Fields: []byte("A: b\r\n"), Timeout: patience}
	if err := call.Send(head, nil, true); err != nil {
		c.t.Fatal(err)
	}
	return call
}

// outcome reads an answer to its end: what it holds, or why it broke off.
func outcome(call l7.Call) (text string, err error) {
	for {
		var resp l7.Response
		if err := call.Head(&resp, patience); err != nil {
			return text, err
		}
		text += string(rune('0'+resp.Status/100)) + " "
		if resp.Status >= 200 {
			break
		}
	}
	for {
		p, err := call.Content(patience)
		if err == io.EOF {
			for _, f := range call.Trailer().Fields() {
				text += " " + f.Name + "=" + f.Value
			}
			return text, nil
		}
		if err != nil {
			return text, err
		}
		text += string(p)
		call.Took(len(p))
	}
}

// peerConn is the upstream's end of a connection.
type peerConn struct {
	net.Conn
	*http2.Framer
	enc  *hpack.Encoder
	text strings.Builder
}

// accept takes a connection, and its preface and SETTINGS.
func (c *calling) accept() *peerConn {
	c.t.Helper()
	nc, err := c.ln.Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
		c.t.Fatalf("the preface is %q, %v", preface, err)
	}
	p := &peerConn{Conn: nc, Framer: http2.NewFramer(nc, nc)}
	p.enc = hpack.NewEncoder(&p.text)
	return p
}

// until reads frames until one of a kind comes.
func (p *peerConn) until(t testing.TB, kind http2.FrameType) http2.Frame {
	t.Helper()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			t.Fatalf("waiting for %v: %v", kind, err)
		}
		if f.Header().Type == kind {
			return f
		}
	}
}

// head writes a header block of name, value pairs.
func (p *peerConn) head(id uint32, end bool, fields ...string) {
	p.text.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(p.text.String()), EndStream: end, EndHeaders: true})
}

// TestCallAnswers holds answers, right and wrong, against what becomes of them
// (RFC 9113 sections 5.1, 6 and 8), and whether the connection goes on.
func TestCallAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		say   func(p *peerConn)
		want  string // what is read
		err   string // a part of why it broke off; "": it did not
		close bool   // the connection is no use any more
	}{
		{"whole", func(p *peerConn) { p.head(1, false, ":status", "200"); _ = p.WriteData(1, true, []byte("hi")) }, "2 hi", "", false},
		{"a head alone", func(p *peerConn) { p.head(1, true, ":status", "200", "grpc-status", "5") }, "2 ", "", false},
		{"interim, content and trailer", func(p *peerConn) {
			p.head(1, false, ":status", "103")
			p.head(1, false, ":status", "200", "content-length", "2")
			_ = p.WriteDataPadded(1, false, []byte("hi"), make([]byte, 9))
			p.head(1, true, "grpc-status", "0")
		}, "1 2 hi grpc-status=0", "", false},
		{"trailer without content", func(p *peerConn) { p.head(1, false, ":status", "200"); p.head(1, true, "a", "b") }, "2  a=b", "", false},
		{"refused", func(p *peerConn) { _ = p.WriteRSTStream(1, http2.ErrCodeRefusedStream) }, "", "not processed", false},
		{"gone away before it", func(p *peerConn) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil) }, "", "not processed", true},
		{"reset", func(p *peerConn) { p.head(1, false, ":status", "200"); _ = p.WriteRSTStream(1, http2.ErrCodeInternal) }, "2 ", "INTERNAL_ERROR", false},
		{"closed within", func(p *peerConn) { p.head(1, false, ":status", "200"); p.Close() }, "2 ", "", true},
		{"no status", func(p *peerConn) { p.head(1, true, "a", "b") }, "", errNoStatus.Error(), false},
		{"two statuses", func(p *peerConn) { p.head(1, true, ":status", "200", ":status", "200") }, "", faultPseudo, false},
		{"a request's pseudo-header field", func(p *peerConn) { p.head(1, true, ":status", "200", ":path", "/") }, "", faultPseudo, false},
		{"a late status", func(p *peerConn) { p.head(1, true, "a", "b", ":status", "200") }, "", faultPseudo, false},
		{"status 101", func(p *peerConn) { p.head(1, false, ":status", "101") }, "", faultStatus, false},
		{"status 600", func(p *peerConn) { p.head(1, true, ":status", "600") }, "", faultStatus, false},
		{"status +20", func(p *peerConn) { p.head(1, true, ":status", "+20") }, "", faultStatus, false},
		{"upper case", func(p *peerConn) { p.head(1, true, ":status", "200", "Aa", "b") }, "", faultField, false},
		{"a line end in a value", func(p *peerConn) { p.head(1, true, ":status", "200", "a", "b\r\nc: d") }, "", faultField, false},
		{"a field of the connection", func(p *peerConn) { p.head(1, true, ":status", "200", "connection", "close") }, "", faultConn, false},
		{"transfer-encoding", func(p *peerConn) { p.head(1, true, ":status", "200", "transfer-encoding", "chunked") }, "", faultConn, false},
		{"two lengths", func(p *peerConn) { p.head(1, true, ":status", "200", "content-length", "1", "content-length", "1") }, "", faultLength, false},
		{"a head too large", func(p *peerConn) { p.head(1, true, ":status", "200", "a", strings.Repeat("b", 16<<10)) }, "", "too large", false},
		{"an interim head at the end", func(p *peerConn) { p.head(1, true, ":status", "103") }, "", errOddEnd.Error(), false},
		{"a trailer that is not the end", func(p *peerConn) { p.head(1, false, ":status", "200"); p.head(1, false, "a", "b") }, "2 ", errOddEnd.Error(), false},
		{"framing in a trailer", func(p *peerConn) { p.head(1, false, ":status", "200"); p.head(1, true, "content-length", "0") }, "2 ", faultTrailer, false},
		{"a status in a trailer", func(p *peerConn) { p.head(1, false, ":status", "200"); p.head(1, true, ":status", "200") }, "2 ", faultPseudo, false},
		{"content too short", func(p *peerConn) {
			p.head(1, false, ":status", "200", "content-length", "3")
			_ = p.WriteData(1, true, []byte("hi"))
		}, "2 hi", errShort.Error(), false},
		{"content too long", func(p *peerConn) {
			p.head(1, false, ":status", "200", "content-length", "1")
			_ = p.WriteData(1, true, []byte("hi"))
		}, "2 ", errLong.Error(), false},
		{"content of a 204", func(p *peerConn) { p.head(1, false, ":status", "204"); _ = p.WriteData(1, true, []byte("hi")) }, "2 ", errLong.Error(), false},
		{"content first", func(p *peerConn) { _ = p.WriteData(1, true, []byte("hi")) }, "", errEarlyData.Error(), false},
		{"a window that overflows", func(p *peerConn) { _ = p.WriteWindowUpdate(1, 1<<31-1) }, "", "window", false},
		{"the connection's window overflows", func(p *peerConn) { _ = p.WriteWindowUpdate(0, 1<<31-1) }, "", "window", true},
		{"a call that is not open", func(p *peerConn) { p.head(3, true, ":status", "200") }, "", "there is not", true},
		{"an even number", func(p *peerConn) { _ = p.WriteData(2, true, nil) }, "", "there is not", true},
		{"a push", func(p *peerConn) {
			_ = p.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, "", "PUSH_PROMISE", true},
		{"a broken block", func(p *peerConn) {
			_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff}, EndStream: true, EndHeaders: true})
		}, "", "", true},
		{"GOAWAY that grows", func(p *peerConn) {
			_ = p.WriteGoAway(1, http2.ErrCodeNo, nil)
			_ = p.WriteGoAway(3, http2.ErrCodeNo, nil)
		}, "", "GOAWAY", true},
		{"a table size that is none", func(p *peerConn) {
			_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, "", "", true},
		{"HTTP/1", func(p *peerConn) { _, _ = io.WriteString(p.Conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, "", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := startCalling(t)
			call := c.ask()
			defer call.Close(false)
			p := c.accept()
			_ = p.WriteSettings()
			p.until(t, http2.FrameHeaders)
			tt.say(p)
			text, err := outcome(call)
			whole := tt.err == "" && !tt.close
			if whole && err != nil || !whole && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("it ends with %v, want %q", err, tt.err)
			}
			if text != tt.want {
				t.Errorf("it reads %q, want %q", text, tt.want)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it was waited for in vain")
			}
			if tt.close {
				return
			}
			next := c.ask() // on the same connection: another would not be accepted
			defer next.Close(false)
			p.head(3, true, ":status", "200")
			if text, err := outcome(next); text != "2 " || err != nil {
				t.Errorf("the next call reads %q, %v", text, err)
			}
		})
	}
}

// TestCallWindows shows that content is sent as the upstream's windows let it, and
// that one which does not take it fails the write and nothing else.
func TestCallWindows(t *testing.T) {
	c := startCalling(t)
	call := c.open()
	head := &l7.CallHead{Method: "POST", Scheme: "http", Authority: "a.test", Path: "/", Timeout: patience}
	if err := call.Send(head, nil, false); err != nil {
		t.Fatal(err)
	}
	p := c.accept()
	_ = p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	p.until(t, http2.FrameSettings) // ours
	for {
		if f := p.until(t, http2.FrameSettings).(*http2.SettingsFrame); f.IsAck() {
			break
		}
	}
	done := make(chan error, 1)
	go func() { done <- call.Write(make([]byte, 25), true, patience) }()
	var got []int
	for total := 0; total < 25; {
		f := p.until(t, http2.FrameData).(*http2.DataFrame)
		if len(f.Data()) > 10 {
			t.Fatalf("%d bytes, with a window of 10", len(f.Data()))
		}
		total += len(f.Data())
		got = append(got, len(f.Data()))
		if f.StreamEnded() != (total == 25) {
			t.Fatalf("END_STREAM after %d bytes", total)
		}
		_ = p.WriteWindowUpdate(1, uint32(len(f.Data())))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	call.Close(false)

	stuck := c.open()
	if err := stuck.Send(head, nil, false); err != nil {
		t.Fatal(err)
	}
	if err := stuck.Write(make([]byte, 11), true, time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write that nobody takes ends with %v", err)
	}
	stuck.Close(false)
	next := c.ask()
	defer next.Close(false)
	p.head(5, true, ":status", "200")
	if text, err := outcome(next); text != "2 " || err != nil {
		t.Errorf("the next call reads %q, %v after frames of %v bytes", text, err, got)
	}
}

// TestCallsBounded shows that a connection gets no more calls than the upstream
// allows, and that the next one gets a connection of its own.
func TestCallsBounded(t *testing.T) {
	c := startCalling(t)
	first := c.ask()
	defer first.Close(false)
	p := c.accept()
	_ = p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	for !p.until(t, http2.FrameSettings).(*http2.SettingsFrame).IsAck() {
	}
	second := c.ask()
	defer second.Close(false)
	if n := c.client.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	first.Close(false)
	third := c.ask()
	defer third.Close(false)
	if n := c.client.Connections(); n != 2 {
		t.Errorf("%d connections after a call ended, want 2", n)
	}
}

// TestCallBackPressure shows that an upstream can send no more than the window of an
// answer that is not taken, and goes on once it is.
func TestCallBackPressure(t *testing.T) {
	c := startCalling(t)
	call := c.ask()
	defer call.Close(false)
	p := c.accept()
	_ = p.WriteSettings()
	p.until(t, http2.FrameHeaders)
	p.head(1, false, ":status", "200")
	for range callWindow / maxFrame {
		_ = p.WriteData(1, false, make([]byte, maxFrame))
	}
	_ = p.WritePing(false, [8]byte{1})
	for {
		f, err := p.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
			t.Fatal("the window grows before anything is taken")
		}
		if _, ok := f.(*http2.PingFrame); ok {
			break
		}
	}
	var resp l7.Response
	if err := call.Head(&resp, patience); err != nil {
		t.Fatal(err)
	}
	for taken := 0; taken < callWindow/2; {
		b, err := call.Content(patience)
		if err != nil {
			t.Fatal(err)
		}
		taken += len(b)
		call.Took(len(b))
	}
	if w := p.until(t, http2.FrameWindowUpdate).(*http2.WindowUpdateFrame); w.StreamID != 1 || w.Increment < callWindow/2 {
		t.Errorf("%v after half was taken", w)
	}
}

// TestCallWindowExceeded shows that an upstream that sends more than the window of an
// answer that is not taken has it reset.
func TestCallWindowExceeded(t *testing.T) {
	c := startCalling(t)
	call := c.ask()
	defer call.Close(false)
	p := c.accept()
	_ = p.WriteSettings()
	p.until(t, http2.FrameHeaders)
	p.head(1, false, ":status", "200")
	for range callWindow / maxFrame {
		_ = p.WriteData(1, false, make([]byte, maxFrame))
	}
	_ = p.WriteData(1, false, []byte("x"))
	if f := p.until(t, http2.FrameRSTStream).(*http2.RSTStreamFrame); f.ErrCode != http2.ErrCodeFlowControl {
		t.Errorf("the reset says %v", f.ErrCode)
	}
}

// FuzzAnswer lets an upstream send anything: a call ends, and what it gave is
// within the window.
func FuzzAnswer(f *testing.F) {
	seed := func(say func(p *peerConn)) {
		client, server := net.Pipe()
		done := make(chan []byte)
		go func() { b, _ := io.ReadAll(client); done <- b }()
		p := &peerConn{Conn: server, Framer: http2.NewFramer(server, server)}
		p.enc = hpack.NewEncoder(&p.text)
		_ = p.WriteSettings()
		say(p)
		server.Close()
		f.Add(<-done)
	}
	seed(func(p *peerConn) { p.head(1, false, ":status", "200"); _ = p.WriteData(1, true, []byte("hi")) })
	seed(func(p *peerConn) {
		p.head(1, false, ":status", "103")
		p.head(1, false, ":status", "200", "content-length", "2")
		_ = p.WriteData(1, false, []byte("hi"))
		p.head(1, true, "grpc-status", "0")
	})
	seed(func(p *peerConn) { _ = p.WriteGoAway(0, http2.ErrCodeNo, nil) })
	seed(func(p *peerConn) {
		_ = p.WritePing(false, [8]byte{})
		_ = p.WriteRSTStream(1, http2.ErrCodeRefusedStream)
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := startCalling(t)
		call := c.ask()
		p := c.accept()
		go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
		_, _ = p.Write(b)
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		text, err := outcome(call)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the call never ends, after %q", text)
		}
		if len(text) > len(b)+callWindow {
			t.Errorf("%d bytes of %d", len(text), len(b))
		}
		call.Close(false)
	})
}
