package l4

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// maxBans bounds a table of bans, about 10 MB in all. Beyond it one that ends
	// soon makes room.
	maxBans = 1 << 16
	// banSample is how many are looked at to find that one.
	banSample = 16
)

// Bans are clients that are refused for a while, whatever they ask for. Any
// stage that has found a client out may add it. A banned one costs an accept
// and a close. The zero value is an empty table. Safe for concurrent use.
type Bans struct {
	count  atomic.Int64 // of entries; most of the time 0, which spares the lock
	shards [32]banShard
}

type banShard struct {
	mu   sync.Mutex
	bans map[netip.Addr]ban // by the first address of the client's network
}

type ban struct {
	why   string
	until int64 // sock.Now
}

// clientBits is how much of an IPv6 address is one client's: whoever has one
// address of a /64 has all of them (RFC 6177 section 2).
const clientBits = 64

// ClientOf returns the network that stands for a client: the address itself
// for IPv4, its /64 for IPv6.
func ClientOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := clientBits
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // the zero value of an address that is none
	return p
}

func (b *Bans) shard(client netip.Addr) *banShard {
	raw := client.As16()
	var h uint32 = 2166136261
	for _, c := range raw {
		h = (h ^ uint32(c)) * 16777619
	}
	return &b.shards[h%uint32(len(b.shards))]
}

// Add refuses the client with an address for d from now on, or for longer if it
// is banned for longer already. why is a short code.
func (b *Bans) Add(a netip.Addr, d time.Duration, why string) {
	client := ClientOf(a).Addr()
	if !client.IsValid() || d <= 0 {
		return
	}
	now := sock.Now()
	s := b.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bans == nil {
		s.bans = make(map[netip.Addr]ban)
	}
	old, known := s.bans[client]
	if known && old.until >= now+int64(d) {
		return
	}
	if !known {
		if len(s.bans) >= maxBans/len(b.shards) {
			s.makeRoom()
			b.count.Add(-1)
		}
		b.count.Add(1)
	}
	s.bans[client] = ban{why, now + int64(d)}
}

// makeRoom drops the ban that ends first of some, which chance chooses. s.mu is
// held.
func (s *banShard) makeRoom() {
	var first netip.Addr
	var until int64
	n := 0
	for client, e := range s.bans {
		if n == 0 || e.until < until {
			first, until = client, e.until
		}
		if n++; n == banSample {
			break
		}
	}
	delete(s.bans, first)
}

// Has reports whether a client is banned at present.
func (b *Bans) Has(a netip.Addr) bool {
	if b.count.Load() == 0 {
		return false
	}
	client := ClientOf(a).Addr()
	s := b.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.bans[client]
	if ok && e.until <= sock.Now() {
		delete(s.bans, client)
		b.count.Add(-1)
		ok = false
	}
	return ok
}

// Len returns how many clients are in the table, some of which may be free
// again already.
func (b *Bans) Len() int { return int(b.count.Load()) }
