package relay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// TestProperty lets two peers write, pause, read slowly, close their side or
// break off at random. What one has sent is what the other gets, in order and
// up to an end of the same kind; of what was broken off, a beginning.
func TestProperty(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 15
	}
	r := newRig(t, 2)
	for first := 0; first < seeds; first += 10 {
		var wg sync.WaitGroup
		for seed := first; seed < min(first+10, seeds); seed++ {
			wg.Go(func() { property(t, r, uint64(seed)) })
		}
		wg.Wait()
	}
}

// habit is how one peer behaves.
type habit struct {
	seed    [32]byte
	bytes   int  // that it sends
	breaks  bool // resets after that, and does not close
	waits   bool // for the other's end before its own
	slow    bool // reads in small portions with pauses
	small   bool // writes small messages
	reading chan struct{}
	// What it has seen of the other.
	got     int
	gotErr  error
	sentErr error
}

func newHabit(rng *rand.Rand) *habit {
	h := &habit{reading: make(chan struct{})}
	for i := range h.seed {
		h.seed[i] = byte(rng.Uint32())
	}
	h.bytes = rng.IntN(1 << (4 + rng.IntN(19)))
	h.slow, h.waits, h.breaks = rng.IntN(4) == 0, rng.IntN(3) == 0, rng.IntN(4) == 0
	if h.small = rng.IntN(3) == 0; h.small {
		h.bytes = min(h.bytes, 64<<10)
	}
	return h
}

func property(t *testing.T, r *rig, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	a, b := newHabit(rng), newHabit(rng)
	b.waits = b.waits && !a.waits
	k := r.relay(nil)
	var wg sync.WaitGroup
	for _, side := range []struct {
		c           *net.TCPConn
		self, other *habit
		rng         *rand.Rand
	}{
		{k.client, a, b, rand.New(rand.NewPCG(seed, 8))},
		{k.upstream, b, a, rand.New(rand.NewPCG(seed, 9))},
	} {
		wg.Go(func() { side.self.write(side.c, side.rng) })
		wg.Go(func() { side.self.read(t, side.c, side.other, seed) })
	}
	wg.Wait()
	res := k.result()
	if !a.breaks && !b.breaks {
		if res.End != EndClosed || a.got != b.bytes || b.got != a.bytes || a.gotErr != nil || b.gotErr != nil || a.sentErr != nil || b.sentErr != nil {
			t.Errorf("seed %d: %s, client sent %d (%v) got %d (%v), upstream sent %d (%v) got %d (%v)", seed, res.End,
				a.bytes, a.sentErr, a.got, a.gotErr, b.bytes, b.sentErr, b.got, b.gotErr)
		}
		want := Counts{FromClient: int64(a.bytes), ToUpstream: int64(a.bytes), FromUpstream: int64(b.bytes), ToClient: int64(b.bytes)}
		if res.Counts != want {
			t.Errorf("seed %d: counted %+v, want %+v", seed, res.Counts, want)
		}
		return
	}
	if res.End != EndReset {
		t.Errorf("seed %d: the link ended: %s, want a reset", seed, res.End)
	}
}

func (h *habit) write(c *net.TCPConn, rng *rand.Rand) {
	if h.waits {
		<-h.reading
	}
	source := rand.NewChaCha8(h.seed)
	for left := h.bytes; left > 0 && h.sentErr == nil; {
		n := 1 + rng.IntN(256<<10)
		if h.small {
			n = 1 + rng.IntN(1000)
		}
		p := make([]byte, min(n, left))
		_, _ = source.Read(p)
		_, h.sentErr = c.Write(p)
		left -= len(p)
		if rng.IntN(20) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if h.breaks {
		reset(c)
	} else {
		_ = c.CloseWrite()
	}
}

// read holds what comes against what the other sends.
func (h *habit) read(t *testing.T, c *net.TCPConn, other *habit, seed uint64) {
	defer close(h.reading)
	source := rand.NewChaCha8(other.seed)
	p := make([]byte, 64<<10)
	if h.slow {
		p = p[:5000]
	}
	want := make([]byte, len(p))
	for {
		n, err := c.Read(p)
		_, _ = source.Read(want[:n])
		if h.got+n > other.bytes || !bytes.Equal(p[:n], want[:n]) {
			t.Errorf("seed %d: other bytes than were sent, from the %d-th on", seed, h.got)
			return
		}
		h.got += n
		if err != nil {
			if h.gotErr = err; err == io.EOF {
				h.gotErr = nil
				if !other.breaks && h.got != other.bytes {
					h.gotErr = fmt.Errorf("an end after %d bytes of %d", h.got, other.bytes)
				}
			}
			return
		}
		if h.slow && h.got%7 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}
