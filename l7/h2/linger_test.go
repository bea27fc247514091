package h2

import (
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

func refuse(x *l7.Exchange) { answer(x, 403, "no") }

// refused is the answer of refuse.
func refused(id int) []string {
	return []string{fmt.Sprintf("HEADERS %d :status=403 content-length=2", id), fmt.Sprintf("DATA %d %q END", id, "no")}
}

// TestLinger shows that a request that is answered early may be sent to its end,
// within bounds, and that its stream counts until then.
func TestLinger(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(e *engine)
		want []string
	}{
		{"content", func(e *engine) { e.check(e.fr.WriteData(1, true, make([]byte, 100))) }, nil},
		{"trailer", func(e *engine) { e.headers(1, true, "x-sum", "1") }, nil},
		{"reset", func(e *engine) { e.check(e.fr.WriteRSTStream(1, http2.ErrCodeCancel)) }, nil},
		{"trailer that may not be", func(e *engine) { e.headers(1, true, "X-Sum", "1") }, []string{"RST_STREAM 1 PROTOCOL_ERROR"}},
		{"silence", func(*engine) {}, []string{"RST_STREAM 1 NO_ERROR"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t, refuse, func(s *Settings) { s.Streams = 1 })
			e.headers(1, false, request("POST", "/")...)
			e.want(refused(1)...)
			e.headers(3, true, get("/")...) // no second one beside it
			e.want("RST_STREAM 3 REFUSED_STREAM")
			tt.end(e)
			e.want(tt.want...)
			e.alive()
			e.headers(5, true, get("/")...)
			e.want(refused(5)...)
		})
	}
}

// TestLingerEnds shows how much is taken of a request that was answered early.
func TestLingerEnds(t *testing.T) {
	e := start(t, refuse, nil)
	e.headers(1, false, request("POST", "/")...)
	e.want(refused(1)...)
	sent, room := 0, e.settings.StreamWindow
	for {
		for room > 0 {
			k := min(room, maxFrame)
			e.check(e.fr.WriteData(1, false, make([]byte, k)))
			sent, room = sent+k, room-k
		}
		f, err := e.fr.ReadFrame()
		e.check(err)
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 1 {
				room += int(f.Increment)
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeNo || sent < lingerBytes-e.settings.StreamWindow || sent > lingerBytes {
				t.Errorf("reset by %s after %d bytes", f.ErrCode, sent)
			}
			return
		default:
			t.Fatalf("got %v", f)
		}
	}
}

// TestLingerDrops shows that what came before the answer is dropped, and that the
// whole window is given back for what follows.
func TestLingerDrops(t *testing.T) {
	got := make(chan struct{})
	e := start(t, func(x *l7.Exchange) {
		<-got
		refuse(x)
	}, nil)
	e.headers(1, false, request("POST", "/")...)
	for range e.settings.StreamWindow / maxFrame {
		e.check(e.fr.WriteData(1, false, make([]byte, maxFrame)))
	}
	e.alive()
	close(got)
	e.want(refused(1)...)
	// The connection's share is told by itself, in one piece or two.
	for room := 0; room < e.settings.StreamWindow; {
		f, err := e.fr.ReadFrame()
		e.check(err)
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
			room += int(w.Increment)
		}
	}
	e.check(e.fr.WriteData(1, true, []byte("rest")))
	e.headers(3, true, get("/")...)
	for {
		if line := e.next(); line == refused(3)[1] {
			return
		} else if line == "closed" || line == "silence" {
			t.Fatal(line)
		}
	}
}

// TestFramesWhileReset shows what is told of frames on a stream that the client
// has reset, and that is still being served.
func TestFramesWhileReset(t *testing.T) {
	stuck := make(chan struct{})
	e := start(t, func(*l7.Exchange) { <-stuck }, nil)
	defer close(stuck)
	e.headers(1, false, request("POST", "/")...)
	e.check(e.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	for _, send := range []func(){
		func() { e.headers(1, true, "x-sum", "1") },
		func() { e.check(e.fr.WriteData(1, false, []byte("a"))) },
		func() { e.check(e.fr.WriteWindowUpdate(1, 1)) },
	} {
		send()
		e.want("RST_STREAM 1 STREAM_CLOSED")
	}
	e.alive()
}

// TestFramesBehindEnd shows the same of a stream that both sides have ended,
// though its exchange has not: it is logging, say.
func TestFramesBehindEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(e *engine)
		want []string
	}{
		{"DATA", func(e *engine) { e.check(e.fr.WriteData(1, false, []byte("a"))) }, []string{"RST_STREAM 1 STREAM_CLOSED"}},
		{"HEADERS", func(e *engine) { e.headers(1, true, get("/")...) }, []string{"GOAWAY 1 STREAM_CLOSED", "closed"}},
		{"RST_STREAM", func(e *engine) { e.check(e.fr.WriteRSTStream(1, http2.ErrCodeNo)); e.alive() }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stuck := make(chan struct{})
			e := start(t, func(x *l7.Exchange) {
				refuse(x)
				_ = x.Wire.Flush()
				<-stuck
			}, nil)
			defer close(stuck)
			e.headers(1, true, get("/")...)
			e.want(refused(1)...)
			tt.send(e)
			e.want(tt.want...)
		})
	}
}

// TestWaitBehindOthers shows that a stream that could send, but for the more
// urgent ones before it, is not taken for one whose client takes nothing, and
// that those are.
func TestWaitBehindOthers(t *testing.T) {
	t.Parallel()
	const all, steps = 900000, 150 // of 30 ms at least, which is longer than the timeout
	e := start(t, serveBytes, func(s *Settings) { s.WriteTimeout = 3 * time.Second }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	for i, urgency := range []string{"u=0", "u=7", "u=7"} {
		e.headers(uint32(2*i+1), true, get(fmt.Sprintf("/%d", all), "priority", urgency)...)
	}
	done, sum := make(map[uint32]int), 0
	readTo := func(most int) {
		for sum < most {
			f, err := e.fr.ReadFrame()
			e.check(err)
			switch f := f.(type) {
			case *http2.DataFrame:
				done[f.StreamID] += len(f.Data())
				sum += len(f.Data())
			case *http2.RSTStreamFrame:
				t.Fatalf("stream %d is reset by %s", f.StreamID, f.ErrCode)
			}
		}
	}
	// The connection's window moves by some frames, and only stream 1 by it.
	readTo(firstWindow)
	for step := range steps {
		e.check(e.fr.WriteWindowUpdate(0, 4*leastPiece))
		readTo(firstWindow + (step+1)*4*leastPiece)
		time.Sleep(30 * time.Millisecond)
	}
	e.check(e.fr.WriteWindowUpdate(0, 1<<30))
	readTo(3 * all)
	if done[1] != all || done[3] != all || done[5] != all {
		t.Errorf("streams got %v", done)
	}
	e.headers(7, true, get("/2000000")...)
	for {
		f, err := e.fr.ReadFrame()
		e.check(err)
		if r, ok := f.(*http2.RSTStreamFrame); ok {
			if r.StreamID != 7 || e.glitches(glitchStall) != 1 {
				t.Errorf("%v; %d stalls", r, e.glitches(glitchStall))
			}
			return
		}
	}
}

// TestTrickleStalls shows that a client that opens the window of an answer by a
// byte now and then does not keep it up for ever.
func TestTrickleStalls(t *testing.T) {
	ended := make(chan struct{})
	e := start(t, func(x *l7.Exchange) {
		serveBytes(x)
		close(ended)
	}, func(s *Settings) { s.WriteTimeout = 400 * time.Millisecond }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
	e.headers(1, true, get("/10000")...)
	go func() { _, _ = io.Copy(io.Discard, e.client) }()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		select {
		case <-ended:
			if n := e.glitches(glitchStall); n != 1 {
				t.Errorf("%d stalls are counted", n)
			}
			return
		default:
		}
		if time.Now().After(end) {
			t.Fatal("the answer goes on")
		}
		e.check(e.fr.WriteWindowUpdate(1, 1))
	}
}
