package h2

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestWaitingOrder shows that the order of waiting streams is a strict one, so
// that there is always one that does not yield to another.
func TestWaitingOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		c := &conn{aware: r.IntN(4) > 0, window: 1000}
		for i := range 6 {
			c.waiting = append(c.waiting, &stream{
				c: c, id: uint32(2*i + 1), window: 1000, queued: true,
				urgency: uint8(r.IntN(2)), incremental: r.IntN(2) == 0,
			})
		}
		for i, at := range r.Perm(len(c.waiting)) {
			c.waiting[at].ticket = uint64(i)
		}
		first := 0
		for _, a := range c.waiting {
			if !c.betterWaits(a) {
				first++
			}
			for _, b := range c.waiting {
				if a != b && c.before(a, b) == c.before(b, a) {
					t.Fatalf("%d and %d have no order", a.id, b.id)
				}
				for _, d := range c.waiting {
					if c.before(a, b) && c.before(b, d) && !c.before(a, d) {
						t.Fatalf("%d, %d and %d go round", a.id, b.id, d.id)
					}
				}
			}
		}
		if first != 1 {
			t.Fatalf("%d streams yield to none, want 1", first)
		}
	}
}

// TestTableUpdate shows that the first header block after a smaller table begins
// with the table's new size, that of several frames too, and later ones do not.
func TestTableUpdate(t *testing.T) {
	for _, size := range []int{1, maxFrame - 1, maxFrame, 2*maxFrame + 5} {
		c := &conn{shrunk: true}
		block := bytes.Repeat([]byte{0x80 | 8}, size)
		for range 2 {
			c.gatherHead(frameHeaders(append(make([]byte, frameHead), block...), 0, 1, http2.FlagHeadersEndStream))
		}
		fr := http2.NewFramer(nil, bytes.NewReader(c.gathered()))
		for _, begins := range [][]byte{{emptyTable}, nil} {
			var got []byte
			f, err := fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			h := f.(*http2.HeadersFrame)
			if !h.StreamEnded() || h.StreamID != 1 {
				t.Errorf("%d bytes: the frame is %v", size, h)
			}
			got = append(got, h.HeaderBlockFragment()...)
			for end := h.HeadersEnded(); !end; {
				f, err := fr.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				more := f.(*http2.ContinuationFrame)
				got = append(got, more.HeaderBlockFragment()...)
				end = more.HeadersEnded()
			}
			if !bytes.Equal(got, append(begins, block...)) {
				t.Errorf("%d bytes: the block has %d, beginning with %x", size, len(got), got[0])
			}
			if _, err := hpack.NewDecoder(4096, nil).DecodeFull(got); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		c.out.Put()
	}
}

// TestSmallTable shows the same on a connection.
func TestSmallTable(t *testing.T) {
	e := start(t, echo, nil, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	for id := uint32(1); id <= 3; id += 2 {
		e.headers(id, true, get("/")...)
		for {
			f, err := e.fr.ReadFrame()
			e.check(err)
			if h, ok := f.(*http2.HeadersFrame); ok {
				if got, want := h.HeaderBlockFragment()[0] == emptyTable, id == 1; got != want {
					t.Errorf("stream %d: a new size %v, want %v", id, got, want)
				}
				break
			}
		}
	}
}
