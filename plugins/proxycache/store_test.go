package proxycache

import (
	"encoding/binary"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

// testEntry returns an entry of the first shard.
func testEntry(n int, cost int64) *entry {
	var k key
	binary.LittleEndian.PutUint32(k[8:], uint32(n))
	return &entry{key: k, cost: cost, ends: 100, reply: &l7.Reply{}}
}

func newTestStore(bytes int64) (*store, *plugins.State) {
	state := new(plugins.State)
	state.SetCacheBytes(bytes)
	return newStore(state), state
}

func TestStore(t *testing.T) {
	s, state := newTestStore(shards * 10)
	sh := &s.shards[0]
	has := func(n int) bool { return s.get(testEntry(n, 0).key, 0) != nil }

	for n := range 10 {
		s.put(testEntry(n, 1))
	}
	for n := range 10 {
		if !has(n) {
			t.Errorf("entry %d is gone, although there is room", n)
		}
	}
	// All were asked for: the oldest goes, once all had their second chance.
	s.put(testEntry(10, 1))
	if sh.bytes != 10 || len(sh.entries) != 10 || has(0) {
		t.Errorf("%d bytes in %d entries; the oldest is there: %v", sh.bytes, len(sh.entries), has(0))
	}
	// Those that nobody asked for since go first.
	has(5)
	s.put(testEntry(11, 4))
	if sh.bytes != 10 || !has(5) || !has(11) {
		t.Errorf("%d bytes; the one that was asked for is there: %v, the new one: %v", sh.bytes, has(5), has(11))
	}

	t.Run("replaced", func(t *testing.T) {
		s.put(testEntry(5, 2))
		if e := s.get(testEntry(5, 0).key, 0); e == nil || e.cost != 2 || sh.bytes > 10 {
			t.Errorf("entry %+v, %d bytes", e, sh.bytes)
		}
	})
	t.Run("too large", func(t *testing.T) {
		s.put(testEntry(5, 11))
		if has(5) || sh.bytes > 10 {
			t.Errorf("an entry larger than its shard is stored, or what it replaces is left")
		}
	})
	t.Run("ended", func(t *testing.T) {
		if s.get(testEntry(11, 0).key, 100) != nil {
			t.Error("an entry is found after its end")
		}
	})
	t.Run("less room after a reload", func(t *testing.T) {
		state.SetCacheBytes(shards * 4)
		s.put(testEntry(20, 1))
		if sh.bytes > 4 || !has(20) {
			t.Errorf("%d bytes", sh.bytes)
		}
	})
	t.Run("removed", func(t *testing.T) {
		for n := range 30 {
			s.remove(testEntry(n, 0).key)
		}
		if sh.bytes != 0 || len(sh.entries) != 0 || sh.ring.newer != &sh.ring || sh.ring.older != &sh.ring || sh.hand != &sh.ring {
			t.Errorf("%d bytes in %d entries", sh.bytes, len(sh.entries))
		}
	})
	t.Run("on the way in", func(t *testing.T) {
		state.SetCacheBytes(captureShare * 10)
		if !s.reserve(10) || s.reserve(1) {
			t.Error("other than 10 bytes may be on their way in")
		}
		s.taking.Add(-10)
		if !s.reserve(1) {
			t.Error("what was refused still counts")
		}
	})
}

func TestFlights(t *testing.T) {
	s, _ := newTestStore(1 << 20)
	k := testEntry(1, 0).key
	f, started := s.join(k, 0)
	if !started {
		t.Fatal("the first flight was not started")
	}
	if g, started := s.join(k, 0); started || g != f {
		t.Fatal("a second flight for the same key")
	}
	s.land(k, f)
	<-f.landed
	if g, started := s.join(k, 0); !started || g == f {
		t.Error("a landed flight is still joined")
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		name, tag, list string
		want            bool
	}{
		{"same", `"a"`, `"a"`, true},
		{"weak and strong", `W/"a"`, `"a"`, true},
		{"strong and weak", `"a"`, `W/"a"`, true},
		{"any", `"a"`, ` *`, true},
		{"among others", `"a"`, `"b", W/"c" ,"a"`, true},
		{"comma within", `"a,b"`, `"a,b"`, true},
		{"other", `"a"`, `"b"`, false},
		{"part of another", `"a"`, `"xa", "ax"`, false},
		{"without quotes", `"a"`, `a`, false},
		{"open quotes", `"a"`, `"a`, false},
		{"empty", `"a"`, ``, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (&entry{etag: tt.tag}).matches(tt.list); got != tt.want {
				t.Errorf("%s names %s: %v", tt.list, tt.tag, got)
			}
		})
	}
}

// TestTakeOver holds who takes the place of a flight that lasts, and that nobody
// waits for what was not stored a moment ago.
func TestTakeOver(t *testing.T) {
	s, _ := newTestStore(1)
	k := testEntry(1, 0).key
	slow, started := s.join(k, 0)
	if !started {
		t.Fatal("the first one waits")
	}
	if f, started := s.join(k, 0); f != slow || started {
		t.Error("the second one does not wait for the first")
	}
	next := s.takeOver(k, slow)
	if next == nil || s.takeOver(k, slow) != nil {
		t.Error("not exactly one takes the slow one's place")
	}
	s.land(k, slow)
	if f, started := s.join(k, 0); f != next || started {
		t.Error("the slow one has ended the flight that took its place")
	}
	s.refuse(k, 0)
	s.land(k, next)
	if f, started := s.join(k, int64(refusedFor)-1); f != nil || started {
		t.Error("waits for what was not stored a moment ago")
	}
	if _, started := s.join(k, int64(refusedFor)); !started {
		t.Error("the refusal lasts")
	}
	for n := range 2 * maxRefused {
		s.refuse(testEntry(n, 0).key, 0)
	}
	if n := len(s.shards[0].refused); n > maxRefused {
		t.Errorf("%d refusals are remembered, want %d at most", n, maxRefused)
	}
}
