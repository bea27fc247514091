package udp

import (
	"sync"
	"time"
)

// tenants bound what each client address has open and opens. One table serves
// all loops of a listener, because the kernel spreads a client's flows over
// them; it is asked when a flow begins and ends only.
type tenants struct {
	mu   sync.Mutex
	all  map[tenantKey]*tenant
	idle queue // those without a flow, which are kept for their rate
}

// tenantKey is an address of IPv4, or the /64 of one of IPv6, all addresses of
// which are one client's as for connections (l4.ClientOf).
type tenantKey struct {
	addr  [16]byte
	scope uint32
}

func tenantOf(k *key) tenantKey {
	tk := tenantKey{k.client, k.scope}
	if mapped := [12]byte{10: 0xff, 11: 0xff}; [12]byte(k.client[:]) != mapped {
		clear(tk.addr[8:])
	}
	return tk
}

// tenant is a client address. The flow rate is a token bucket: it is empty at
// free, and full one burst before.
type tenant struct {
	key        tenantKey
	flows      int
	free       int64 // in the loop's time
	prev, next *tenant
	queued     bool
}

// enter counts a new flow, or tells which bound is reached. No tenant and ok
// says that nothing is bounded.
func (t *tenants) enter(k *key, b *Bounds, now int64) (_ *tenant, reason DropReason, ok bool) {
	if b.FlowsPerAddress == 0 && b.NewFlowsPerSecond == 0 {
		return nil, 0, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tidy(now)
	tk := tenantOf(k)
	c := t.all[tk]
	if c == nil {
		c = &tenant{key: tk}
		t.all[tk] = c
	} else if c.queued {
		t.idle.remove(c)
	}
	reason, ok = c.enter(b, now)
	if !ok {
		t.rest(c, now)
		return nil, reason, false
	}
	return c, 0, true
}

func (c *tenant) enter(b *Bounds, now int64) (DropReason, bool) {
	if b.FlowsPerAddress > 0 && c.flows >= b.FlowsPerAddress {
		return DropAddress, false
	}
	if b.NewFlowsPerSecond > 0 {
		each := float64(time.Second) / b.NewFlowsPerSecond
		burst := float64(b.NewFlowsBurst)
		if burst == 0 {
			burst = b.NewFlowsPerSecond
		}
		free := max(c.free, now)
		if float64(free-now) > (max(burst, 1)-1)*each {
			return DropRate, false
		}
		c.free = free + int64(each)
	}
	c.flows++
	return 0, true
}

// leave counts the end of a flow.
func (t *tenants) leave(c *tenant, now int64) {
	if c == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c.flows--
	t.rest(c, now)
}

// rest forgets a client without flows, as soon as its bucket is full again.
func (t *tenants) rest(c *tenant, now int64) {
	if c.flows > 0 {
		return
	}
	if c.free <= now {
		delete(t.all, c.key)
		return
	}
	t.idle.push(c)
	if t.idle.n > idleClients {
		t.drop(t.idle.first)
	}
}

// tidy forgets some of those that have rested for long enough.
func (t *tenants) tidy(now int64) {
	for range 4 {
		c := t.idle.first
		if c == nil || c.free > now {
			return
		}
		t.drop(c)
	}
}

func (t *tenants) drop(c *tenant) {
	t.idle.remove(c)
	delete(t.all, c.key)
}

// queue is a list of clients in the order in which they came.
type queue struct {
	first, last *tenant
	n           int
}

func (q *queue) push(c *tenant) {
	c.prev, c.next, c.queued = q.last, nil, true
	if q.last != nil {
		q.last.next = c
	} else {
		q.first = c
	}
	q.last = c
	q.n++
}

func (q *queue) remove(c *tenant) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		q.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		q.last = c.prev
	}
	c.prev, c.next, c.queued = nil, nil, false
	q.n--
}
