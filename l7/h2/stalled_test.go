package h2

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// What most of a connection's streams do in the tests below, and what the others
// move meanwhile.
const (
	allStreams     = 100
	stalledStreams = 90
	movedBytes     = 1 << 20
)

// upload sends content on a stream as the windows let it, and returns the answer.
// credit is what the connection's window lets; it is shared by uploads that follow
// each other.
func (e *engine) upload(id uint32, n int, credit *int) string {
	e.t.Helper()
	e.headers(id, false, request("POST", "/take")...)
	own := e.settings.StreamWindow
	piece := make([]byte, maxFrame)
	for sent := 0; sent < n; {
		if k := min(len(piece), own, *credit, n-sent); k > 0 {
			e.check(e.fr.WriteData(id, sent+k == n, piece[:k]))
			sent, own, *credit = sent+k, own-k, *credit-k
			continue
		}
		f, err := e.fr.ReadFrame()
		e.check(err)
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 0 {
			*credit += int(w.Increment)
		} else if ok && w.StreamID == id {
			own += int(w.Increment)
		}
	}
	for {
		f, err := e.fr.ReadFrame()
		e.check(err)
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				*credit += int(f.Increment)
			}
		case *http2.HeadersFrame:
			_, _ = e.dec.DecodeFull(f.HeaderBlockFragment())
		case *http2.DataFrame:
			return fmt.Sprintf("%d %s", f.StreamID, f.Data())
		}
	}
}

// serveUploads takes content only of requests for /take.
func serveUploads(stuck chan struct{}) func(x *l7.Exchange) {
	return func(x *l7.Exchange) {
		if x.Req.Path != "/take" {
			<-stuck
		}
		n, err := io.Copy(io.Discard, struct{ io.Reader }{x.Req.Body})
		answer(x, 200, fmt.Sprint(n, err))
	}
}

// TestStalledUploads lets the upstreams of 90 streams take nothing of what fills
// their windows: ten others are not held up. When all is taken the server's
// budget is whole again, and so it is when the client leaves.
func TestStalledUploads(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprintf("leaves=%v", leaves), func(t *testing.T) {
			t.Parallel()
			stuck := make(chan struct{})
			e := start(t, serveUploads(stuck), nil)
			credit := e.settings.Window
			for i := range stalledStreams {
				id := uint32(1 + 2*i)
				e.headers(id, false, request("POST", "/stall")...)
				for left := e.settings.StreamWindow; left > 0; {
					if k := min(left, maxFrame, credit); k > 0 {
						e.check(e.fr.WriteData(id, left == k, make([]byte, k)))
						left, credit = left-k, credit-k
						continue
					}
					f, err := e.fr.ReadFrame()
					e.check(err)
					w, ok := f.(*http2.WindowUpdateFrame)
					if !ok || w.StreamID != 0 {
						t.Fatalf("got %v", f)
					}
					credit += int(w.Increment)
				}
			}
			for i := stalledStreams; i < allStreams; i++ {
				id := uint32(1 + 2*i)
				if got, want := e.upload(id, movedBytes, &credit), fmt.Sprintf("%d %d <nil>", id, movedBytes); got != want {
					t.Fatalf("the answer is %q, want %q", got, want)
				}
			}
			held := int64(stalledStreams*e.settings.StreamWindow - e.settings.Window/2)
			if got := e.server.advanced.Load(); got != held {
				t.Errorf("%d bytes are drawn from the budget, want %d", got, held)
			}
			if leaves {
				e.client.Close()
			}
			close(stuck)
			for answered := 0; !leaves && answered < stalledStreams; {
				if line := e.next(); strings.HasPrefix(line, "DATA") {
					answered++
				} else if line == "closed" || line == "silence" {
					t.Fatal(line)
				}
			}
			e.finish()
			if got := e.server.advanced.Load(); got != 0 {
				t.Errorf("%d bytes are still drawn from the budget", got)
			}
		})
	}
}

// TestUnreadBudget shows that a connection has its own window, and no more, once
// the budget is used up, and that what is left of the window serves others.
func TestUnreadBudget(t *testing.T) {
	stuck := make(chan struct{})
	e := start(t, serveUploads(stuck), func(s *Settings) { s.Unread = 0 })
	defer close(stuck)
	credit := e.settings.Window
	for id := uint32(1); id < 6; id += 2 { // three quarters of the window
		e.headers(id, false, request("POST", "/stall")...)
		for range e.settings.StreamWindow / maxFrame {
			e.check(e.fr.WriteData(id, false, make([]byte, maxFrame)))
		}
		credit -= e.settings.StreamWindow
	}
	if got, want := e.upload(7, movedBytes, &credit), fmt.Sprintf("7 %d <nil>", movedBytes); got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	if got := e.server.advanced.Load(); got != 0 {
		t.Errorf("%d bytes are drawn from the budget", got)
	}
}

// TestStalledDownloads lets the client open no window for 90 answers: ten others
// are not held up.
func TestStalledDownloads(t *testing.T) {
	e := start(t, serveBytes, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	e.check(e.fr.WriteWindowUpdate(0, 1<<30))
	for i := range allStreams {
		e.headers(uint32(1+2*i), true, get(fmt.Sprintf("/%d", movedBytes))...)
	}
	got := make(map[uint32]int)
	for i := stalledStreams; i < allStreams; i++ {
		e.check(e.fr.WriteWindowUpdate(uint32(1+2*i), movedBytes))
	}
	for ended := 0; ended < allStreams-stalledStreams; {
		f, err := e.fr.ReadFrame()
		e.check(err)
		if d, ok := f.(*http2.DataFrame); ok {
			if got[d.StreamID] += len(d.Data()); d.StreamEnded() {
				ended++
			}
		}
	}
	for i := range allStreams {
		id, want := uint32(1+2*i), 0
		if i >= stalledStreams {
			want = movedBytes
		}
		if got[id] != want {
			t.Errorf("stream %d got %d bytes, want %d", id, got[id], want)
		}
	}
}

// TestSingleBytes shows that a client that opens a window by single bytes gets no
// frame for each of them.
func TestSingleBytes(t *testing.T) {
	const n = 3000
	e := start(t, serveBytes, func(s *Settings) { s.Glitches = 10 * n }, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4000})
	e.headers(1, true, get("/10000")...)
	e.want("HEADERS 1 :status=200 content-length=10000", fmt.Sprintf("DATA 1 %q", make([]byte, 4000)))
	for range n {
		e.check(e.fr.WriteWindowUpdate(1, 1))
	}
	frames, bytes := 0, 0
	for bytes < n/leastPiece*leastPiece {
		f, err := e.fr.ReadFrame()
		e.check(err)
		if d, ok := f.(*http2.DataFrame); ok {
			frames++
			bytes += len(d.Data())
		}
	}
	// A look may let some bytes go while the client is slow, once in a while.
	if frames > 30 {
		t.Errorf("%d frames for %d bytes", frames, bytes)
	}
	e.check(e.fr.WriteRSTStream(1, http2.ErrCodeCancel))
}

// TestLittleWindow shows that the last bytes of a window are sent in the end,
// though the client gives no more until it has them.
func TestLittleWindow(t *testing.T) {
	e := start(t, serveBytes, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4000})
	e.headers(1, true, get("/4100")...)
	e.want("HEADERS 1 :status=200 content-length=4100", fmt.Sprintf("DATA 1 %q", make([]byte, 4000)))
	e.check(e.fr.WriteWindowUpdate(1, 5))
	e.want(fmt.Sprintf("DATA 1 %q", make([]byte, 5)))
	e.check(e.fr.WriteWindowUpdate(1, 95))
	e.want(fmt.Sprintf("DATA 1 %q END", make([]byte, 95)))
}
