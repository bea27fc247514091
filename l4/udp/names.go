package udp

import (
	"slices"
	"sync"
)

// names are those that flows have beside their addresses, on a listener with a
// Keyer. One table serves all loops: the kernel hands a client at a new address
// to any of them.
type names struct {
	mu    sync.RWMutex
	flows map[Name]*Flow
}

func (n *names) of(name Name) *Flow {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.flows[name]
}

// AddName lets datagrams that the Keyer gives this name be the flow's. A flow
// has the last few of its names; one that another flow has is refused. It is for
// the flow's loop.
func (f *Flow) AddName(name Name) bool {
	if f.state == closed {
		return false
	}
	n := &f.lane.port.names
	n.mu.Lock()
	defer n.mu.Unlock()
	if other := n.flows[name]; other != nil {
		return other == f
	}
	if len(f.names) == namesPerFlow {
		delete(n.flows, f.names[0])
		f.names = slices.Delete(f.names, 0, 1)
	}
	n.flows[name] = f
	f.names = append(f.names, name)
	return true
}

func (l *lane) dropNames(f *Flow) {
	if len(f.names) == 0 {
		return
	}
	n := &l.port.names
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range f.names {
		delete(n.flows, name)
	}
	f.names = nil
}

// nameOf asks the Keyer, if there is one.
func (l *lane) nameOf(payload []byte) (Name, bool) {
	if l.port.options.Keyer == nil {
		return Name{}, false
	}
	return l.port.options.Keyer.Name(payload)
}

// elsewhere stands for a flow of another loop, which has got the datagram.
var elsewhere = new(Flow)

// named finds the flow of the i-th datagram on a listener with a Keyer: by its
// name first, else the one that its address has.
func (l *lane) named(byAddress *Flow, k *key, i int, payload []byte) *Flow {
	segment := l.extra[i].segment
	head := payload
	if segment > 0 {
		head = payload[:segment]
	}
	name, ok := l.nameOf(head)
	if !ok {
		return byAddress
	}
	f := l.port.names.of(name)
	switch {
	case f == nil:
		return byAddress
	case f.lane != l:
		l.handOver(f, k, i, payload)
		return elsewhere
	case f.key != *k:
		l.moved(f, k, &l.in.names[i], &l.extra[i], head)
	}
	return f
}

// handOver gives a copy of a datagram to the loop of its flow.
func (l *lane) handOver(f *Flow, k *key, i int, payload []byte) {
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
		if f.key != from {
			head := b
			if c.segment > 0 {
				head = b[:c.segment]
			}
			to.moved(f, &from, &at, &c, head)
		}
		f.received.add(n, len(b))
		f.last = to.loop.Now()
		if f.state == waiting {
			to.hold(f, b, c.segment)
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
func (l *lane) moved(f *Flow, k *key, name *address, c *control, payload []byte) {
	if l.flows[*k] != nil || !l.port.options.Keyer.Moved(f, k.clientAddr(), payload) || f.state == closed {
		return
	}
	if l.flows[f.key] == f {
		delete(l.flows, f.key)
	}
	if l.recent == f {
		l.recent = nil
	}
	f.key, f.name = *k, *name
	if l.socket.wild {
		f.sourceLen = uint8(putSource(f.source[:], l.socket.family, c.local, c.ifindex))
	}
	l.flows[*k] = f
}
