package h2

import (
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// flood sends until the connection is ended, and checks that it was ended for
// the flood and that little was served.
func flood(t *testing.T, e *engine, kind glitch, send func(i int) error) {
	t.Helper()
	var reader sync.WaitGroup
	reader.Add(1)
	last := ""
	go func() {
		defer reader.Done()
		for {
			line := e.next()
			if strings.HasPrefix(line, "GOAWAY") {
				last = line
			}
			if line == "closed" || line == "silence" {
				return
			}
		}
	}()
	sent := 0
	for ; sent < 200000; sent++ {
		if send(sent) != nil {
			break
		}
	}
	_ = e.client.CloseWrite()
	reader.Wait()
	if !strings.HasSuffix(last, "ENHANCE_YOUR_CALM") {
		t.Errorf("after %d frames the last word was %q", sent, last)
	}
	if n := e.glitches(kind); n < uint64(e.settings.Glitches) {
		t.Errorf("%d glitches counted", n)
	}
	if n := e.metrics.Terminations.Load(int(l7.ReasonHTTP2Flood)); n != 1 || e.flooded.Load() != 1 {
		t.Errorf("%d terminations, told %d times", n, e.flooded.Load())
	}
}

// TestFloods shows that what costs us more than the client ends the connection.
func TestFloods(t *testing.T) {
	id := func(i int) uint32 { return uint32(2*i + 1) }
	tests := []struct {
		name string
		kind glitch
		send func(e *engine, i int) error
	}{
		{"rapid reset (CVE-2023-44487)", glitchReset, func(e *engine, i int) error {
			e.block.Reset()
			if err := e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i), BlockFragment: e.fields(get("/")...), EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
			return e.fr.WriteRSTStream(id(i), http2.ErrCodeCancel)
		}},
		{"made you reset (CVE-2025-8671)", glitchStream, func(e *engine, i int) error {
			if err := e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i), BlockFragment: e.fields(request("POST", "/")...), EndHeaders: true}); err != nil {
				return err
			}
			return e.fr.WriteWindowUpdate(id(i), 0)
		}},
		{"malformed requests", glitchStream, func(e *engine, i int) error {
			return e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i), BlockFragment: e.fields(get("/", "te", "x")...), EndStream: true, EndHeaders: true})
		}},
		{"PING", glitchPing, func(e *engine, _ int) error { return e.fr.WritePing(false, [8]byte{}) }},
		{"SETTINGS", glitchSettings, func(e *engine, _ int) error { return e.fr.WriteSettings() }},
		{"PRIORITY", glitchPriority, func(e *engine, i int) error {
			return e.fr.WritePriority(id(i), http2.PriorityParam{Weight: 1})
		}},
		{"PRIORITY_UPDATE", glitchPriority, func(e *engine, i int) error { return e.fr.WritePriorityUpdate(id(i), "u=1") }},
		{"WINDOW_UPDATE", glitchWindow, func(e *engine, _ int) error { return e.fr.WriteWindowUpdate(0, 1) }},
		{"empty DATA", glitchEmpty, func(e *engine, i int) error {
			if i == 0 {
				return e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(request("POST", "/")...), EndHeaders: true})
			}
			return e.fr.WriteData(1, false, nil)
		}},
		{"HEADERS on a stream that was reset", glitchStream, func(e *engine, i int) error {
			if i == 0 {
				if err := e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(get("/", "te", "x")...), EndHeaders: true}); err != nil {
					return err
				}
			}
			return e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(get("/")...), EndHeaders: true})
		}},
		{"unknown frames", glitchUnknown, func(e *engine, _ int) error { return e.fr.WriteRawFrame(0x42, 0, 0, nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, echo, func(s *Settings) { s.Glitches = 100 })
			flood(t, e, tt.kind, func(i int) error { return tt.send(e, i) })
		})
	}
}

// TestFloodsOfDroppedHeads shows the same of heads that are decoded only for the
// table's sake, while a stream is served.
func TestFloodsOfDroppedHeads(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begin func(e *engine)
		id    func(i int) uint32
	}{
		{"after GOAWAY", func(e *engine) {
			e.want("GOAWAY 2147483647 NO_ERROR", "GOAWAY 1 NO_ERROR")
		}, func(i int) uint32 { return uint32(2*i + 3) }},
		{"on a stream that we have reset", func(e *engine) {
			e.want("GOAWAY 2147483647 NO_ERROR", "GOAWAY 1 NO_ERROR")
			e.check(e.fr.WriteWindowUpdate(1, 0))
			e.want("RST_STREAM 1 PROTOCOL_ERROR")
		}, func(int) uint32 { return 1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stuck := make(chan struct{})
			e := start(t, func(*l7.Exchange) { <-stuck }, func(s *Settings) { s.Glitches, s.Requests = 100, 1 })
			e.headers(1, false, request("POST", "/")...)
			tt.begin(e)
			var once sync.Once
			flood(t, e, glitchStream, func(i int) error {
				err := e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: tt.id(i), BlockFragment: e.fields(get("/")...), EndHeaders: true})
				if err != nil || i == 199999 {
					once.Do(func() { close(stuck) })
				}
				return err
			})
		})
	}
}

// TestContinuationFlood shows that a header block that does not end is not
// decoded for ever (CVE-2023-45288).
func TestContinuationFlood(t *testing.T) {
	e := start(t, echo, nil)
	piece := e.fields("x", strings.Repeat("y", 1000))
	e.check(e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(get("/")...)}))
	for range 100 {
		if e.fr.WriteContinuation(1, false, piece) != nil {
			break
		}
	}
	e.want("GOAWAY 1 ENHANCE_YOUR_CALM", "closed")
	if e.served.Load() != 0 {
		t.Error("it was served")
	}
}

// TestTableBomb shows that a header list does not grow out of a few bytes that
// name a long field again and again.
func TestTableBomb(t *testing.T) {
	e := start(t, echo, nil)
	list := get("/", "bomb", strings.Repeat("x", 3900))
	for range 4000 {
		list = append(list, "bomb", list[9])
	}
	block := e.fields(list...)
	if len(block) > 8500 {
		t.Fatalf("the bomb has %d bytes", len(block))
	}
	e.check(e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true}))
	e.want("HEADERS 1 :status=431 content-length=34")
	e.next()
	e.headers(3, true, get("/next")...) // the table is still the client's
	e.want(ok(3, "GET /next")...)
}

// TestStreamsAtATime shows that streams above the bound are refused, and that
// what is still served counts although the client has reset it.
func TestStreamsAtATime(t *testing.T) {
	release := make(chan struct{})
	e := start(t, func(x *l7.Exchange) { <-release; echo(x) }, func(s *Settings) { s.Streams = 2 })
	e.headers(1, true, get("/1")...)
	e.headers(3, true, get("/3")...)
	e.headers(5, true, get("/5")...)
	e.want("RST_STREAM 5 REFUSED_STREAM")
	e.check(e.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	e.check(e.fr.WriteRSTStream(3, http2.ErrCodeCancel))
	e.headers(7, true, get("/7")...) // these wait for a worker
	e.headers(9, true, get("/9")...)
	e.alive()
	if n := e.served.Load(); n != 2 {
		t.Errorf("%d streams are served", n)
	}
	e.check(e.fr.WriteRSTStream(9, http2.ErrCodeCancel))
	e.alive()
	close(release)
	e.want(ok(7, "GET /7")...)
	e.alive()
	if n := e.served.Load(); n != 3 {
		t.Errorf("%d streams were served", n)
	}
	if n := e.glitches(glitchRefused); n != 1 {
		t.Errorf("%d refusals counted", n)
	}
}

// TestUnreadAnswers shows that a client that asks without reading is cut off.
func TestUnreadAnswers(t *testing.T) {
	e := start(t, echo, func(s *Settings) { s.Glitches = 1 << 30 })
	_ = e.conn.Socket().SetWriteBuffer(4 << 10)
	for range 4 << 20 {
		if e.fr.WritePing(false, [8]byte{}) != nil {
			return
		}
	}
	t.Error("PING is answered for ever")
}

// TestDribble shows that windows opened byte by byte end the connection, though
// each byte is sent (CVE-2019-9511).
func TestDribble(t *testing.T) {
	e := start(t, serveBytes, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	e.headers(1, true, get("/100000")...)
	flood(t, e, glitchWindow, func(int) error { return e.fr.WriteWindowUpdate(1, 1) })
}
