package udp

import (
	"slices"
	"sync"
)

// names are those that flows have beside their addresses, on a listener with a
// Keyer. One table serves all loops: the kernel hands a client at a new address
// to any of them.
type names struct {
	mu     sync.RWMutex
	claims map[Name]claim
	// away has the flows of clients that have moved, by the address from which
	// the kernel hands them to another loop than the flow's.
	away map[key]*Flow
}

// claim says whose a name is.
type claim struct {
	flow *Flow // nil: several have it, so that it says nothing, even when all but one have ended
	n    int   // how many have it
}

// find returns the flow that has one of the names, the first that has.
func (n *names) find(list []Name) *Flow {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, name := range list {
		if f := n.claims[name].flow; f != nil {
			return f
		}
	}
	return nil
}

func (n *names) awayAt(k *key) *Flow {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.away[*k]
}

// drop takes a name from one that has it.
func (n *names) drop(name Name) {
	c := n.claims[name]
	if c.n--; c.n == 0 {
		delete(n.claims, name)
		return
	}
	n.claims[name] = c
}

// AddName lets datagrams that the Keyer gives this name be the flow's. A flow
// has the last few of its names; what several flows have names none. It is for
// the flow's loop.
func (f *Flow) AddName(name Name) {
	if f.state == closed || slices.Contains(f.names, name) {
		return
	}
	n := &f.lane.port.names
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(f.names) == namesPerFlow {
		n.drop(f.names[0])
		f.names = slices.Delete(f.names, 0, 1)
	}
	c := claim{f, n.claims[name].n + 1}
	if c.n > 1 {
		c.flow = nil
	}
	n.claims[name] = c
	f.names = append(f.names, name)
}

func (l *lane) dropNames(f *Flow) {
	if len(f.names) == 0 {
		return
	}
	n := &l.port.names
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range f.names {
		n.drop(name)
	}
	f.names = nil
	n.settle(f, nil)
}

// settle notes where a flow is that was reached by another loop; nil: at home.
func (n *names) settle(f *Flow, at *key) {
	if f.away != nil && n.away[*f.away] == f {
		delete(n.away, *f.away)
	}
	if f.away = at; at != nil {
		n.away[*at] = f
	}
}

// elsewhere stands for a flow of another loop, which has got the datagram.
var elsewhere = new(Flow)

// named finds the flow of the i-th datagram on a listener with a Keyer: by its
// name first, else the one that its address has. nil says that there is none; k
// is then what a new one is to be known by.
func (l *lane) named(keyer Keyer, byAddress *Flow, k *key, i int, payload []byte) *Flow {
	head := payload
	if segment := l.extra[i].segment; segment > 0 {
		head = payload[:segment]
	}
	list, begins := keyer.Names(l.aliases[:0], head)
	f := l.port.names.find(list)
	switch {
	case f == nil:
		return l.unnamed(keyer, byAddress, k, i, payload, head, begins)
	case f.lane == l && f.key.sameClient(k):
		return f
	case byAddress != nil && len(byAddress.names) < 2:
		// What comes from there goes by its address, since no upstream has named
		// the flow, and has the name of another one by chance.
		return byAddress
	case f.lane != l:
		l.handOver(keyer, f, k, i, payload)
		return elsewhere
	}
	l.moved(keyer, f, k, &l.in.names[i], &l.extra[i], head)
	return f
}

// unnamed finds the flow of a datagram that has no known name, by its address.
func (l *lane) unnamed(keyer Keyer, byAddress *Flow, k *key, i int, payload, head []byte, begins bool) *Flow {
	others := len(l.beside[*k])
	switch taken := others > 0 || byAddress != nil && len(byAddress.names) > 0; {
	case taken && begins && keyer.Begins(head):
		if l.number(k) {
			return nil
		}
		l.count.drop(DropFlows, datagrams(payload, l.extra[i].segment))
		return elsewhere
	case others > 0:
		return l.among(byAddress, k, payload, l.extra[i].segment)
	case taken:
		keyer.Unnamed(byAddress, head)
	case byAddress == nil && !begins:
		if f := l.port.names.awayAt(k); f != nil && f.lane != l {
			l.handOver(keyer, f, k, i, payload)
			return elsewhere
		}
	}
	return byAddress
}

// numberShift is where a key's port has the number of the flow among those of
// one client's address.
const numberShift = 16

// plain returns the key of the client's first flow.
func (k key) plain() key {
	k.port &= 1<<numberShift - 1
	return k
}

func (k *key) sameClient(other *key) bool { return k.plain() == other.plain() }

// number makes k the key of a further flow of a client's address; false: it has
// too many.
func (l *lane) number(k *key) bool {
	port := k.plain().port
	for n := range uint32(flowsPerSocket) {
		k.port = port | n<<numberShift
		if l.flows.find(k) == nil {
			return true
		}
	}
	return false
}

// enter makes a flow known by its key, forget takes it out again.
func (l *lane) enter(f *Flow) {
	l.flows.put(f)
	if plain := f.key.plain(); plain != f.key {
		l.beside[plain] = append(l.beside[plain], f)
	}
}

func (l *lane) forget(f *Flow) {
	if l.flows.find(&f.key) != f {
		return
	}
	l.flows.remove(&f.key)
	if l.recent == f {
		l.recent = nil
	}
	plain := f.key.plain()
	if plain == f.key {
		return
	}
	others := slices.DeleteFunc(l.beside[plain], func(other *Flow) bool { return other == f })
	if l.beside[plain] = others; len(others) == 0 {
		delete(l.beside, plain)
	}
}

// among gives a datagram without a known name to all the flows that its client's
// address has: only their upstreams can tell whose it is. It returns the last of
// them, which is still to get it.
func (l *lane) among(byAddress *Flow, k *key, payload []byte, segment int) *Flow {
	others := l.beside[*k]
	last := byAddress
	if last == nil || last.state != open {
		last, others = others[len(others)-1], others[:len(others)-1]
	}
	for _, f := range slices.Clone(others) { // one that ends by this goes from the list
		if f.state == open {
			f.received.add(datagrams(payload, segment), len(payload))
			f.last = l.loop.Now()
			l.late(f, heldPayload{payload, segment})
		}
	}
	return last
}

// handOver gives a copy of a datagram to the loop of its flow.
func (l *lane) handOver(keyer Keyer, f *Flow, k *key, i int, payload []byte) {
	n := datagrams(payload, l.extra[i].segment)
	if !l.port.engine.holding(len(payload)) {
		l.count.drop(DropHeld, n)
		return
	}
	b, from, to, c, at := slices.Clone(payload), *k, f.lane, l.extra[i], l.in.names[i]
	ok := to.loop.Post(func() {
		l.port.engine.held.Add(-int64(len(b)))
		if f.state == closed {
			to.count.drop(DropUpstream, n)
			return
		}
		head := b
		if c.segment > 0 {
			head = b[:c.segment]
		}
		if !f.key.sameClient(&from) {
			if to.moved(keyer, f, &from, &at, &c, head) {
				names := &to.port.names
				names.mu.Lock()
				names.settle(f, &from)
				names.mu.Unlock()
			}
		} else if list, _ := keyer.Names(to.aliases[:0], head); to.port.names.find(list) == nil {
			if len(to.beside[from]) == 0 {
				keyer.Unnamed(f, head)
			} else {
				f = to.among(to.flows.find(&from), &from, b, c.segment)
			}
		}
		f.received.add(n, len(b))
		f.last = to.loop.Now()
		if f.state == waiting {
			to.await(f, b, c.segment)
			return
		}
		to.late(f, heldPayload{b, c.segment})
	})
	if !ok {
		l.port.engine.held.Add(-int64(len(b)))
		l.count.drop(DropDraining, n)
	}
}

// moved asks whether a flow may go on at another address of its client, and
// lets answers go there if so.
func (l *lane) moved(keyer Keyer, f *Flow, k *key, name *address, c *control, payload []byte) bool {
	if !keyer.Moved(f, k.clientAddr(), payload) || f.state == closed {
		return false
	}
	at := *k
	if l.flows.find(&at) != nil && !l.number(&at) {
		return false
	}
	l.forget(f)
	if f.tenant != nil && f.header == 0 { // else it counts as the client's that a proxy has told
		f.tenant = l.port.tenants.move(f.tenant, tenantOf(&at))
	}
	f.key, f.name = at, *name
	if l.socket.wild {
		f.sourceLen = uint8(putSource(f.source[:], l.socket.family, c.local, c.ifindex))
	}
	l.enter(f)
	if f.away != nil {
		names := &l.port.names
		names.mu.Lock()
		defer names.mu.Unlock()
		names.settle(f, nil)
	}
	return true
}
