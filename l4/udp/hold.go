package udp

import (
	"container/list"
	"context"
	"slices"
)

// held is what a flow has while it waits for Resolve, or for Next. It belongs to
// the loop.
type held struct {
	cancel   context.CancelFunc // of Resolve; nil: that is not under way
	asking   *list.Element      // of the lane's; nil: it does not wait for Next
	payloads []heldPayload
	n        int // datagrams
	bytes    int
	end      End // how the flow ended meanwhile; valid in the state closed
}

type heldPayload struct {
	b       []byte
	segment int
}

// await keeps a datagram for a flow that waits, and asks Next if that is to
// decide.
func (l *lane) await(f *Flow, payload []byte, segment int) {
	if l.hold(f, payload, segment) && f.held.asking != nil {
		l.ask(f, payload, segment)
	}
}

// inquire lets Next decide about a flow of whose first payload Admit has seen the
// first datagram.
func (l *lane) inquire(f *Flow, payload []byte, segment int) {
	f.held = &held{asking: l.asking.PushBack(f)}
	if !l.hold(f, payload, segment) {
		l.end(f, End{Reason: Unresolved})
		return
	}
	f.idle = int64(moreTimeout)
	l.loop.Set(&f.timer, l.loop.Now()+f.idle)
	if segment > 0 {
		l.ask(f, payload[segment:], segment)
	}
}

// ask lets Next see datagrams that were kept.
func (l *lane) ask(f *Flow, payload []byte, segment int) {
	each(payload, segment, func(p []byte) {
		if f.held == nil || f.held.asking == nil {
			return // it is decided; this is kept with the others, or was sent with them
		}
		decision := l.further(f, p)
		if decision.Cookie != nil {
			f.Cookie = decision.Cookie
		}
		switch decision.Verdict {
		case More:
		case Wait:
			l.answered(f.held)
			l.resolve(f, &Datagram{Peer: f.Client(), Client: f.Client(), Local: f.Local(), Payload: p})
		default:
			l.decided(f, &decision)
		}
	})
}

// further asks the Handler; one that panics drops.
func (l *lane) further(f *Flow, payload []byte) Decision {
	defer l.port.guard(&l.count)
	return f.handler.Next(payload, f.Cookie)
}

// answered takes a flow from those that wait for Next.
func (l *lane) answered(h *held) {
	if h.asking != nil {
		l.asking.Remove(h.asking)
		h.asking = nil
	}
}

// resolve lets Resolve decide about a flow, on a goroutine of the port's.
func (l *lane) resolve(f *Flow, d *Datagram) {
	p := l.port
	if !p.engine.resolving() {
		l.end(f, End{Reason: Unresolved})
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, resolveTimeout)
	f.held.cancel = cancel
	// Beyond the goroutine's own deadline, should a Handler not obey it.
	f.idle = int64(2 * resolveTimeout)
	l.loop.Set(&f.timer, l.loop.Now()+f.idle)
	first := *d
	first.Payload = slices.Clone(d.Payload)
	handler, cookie := f.handler, f.Cookie
	p.resolves.Go(func() {
		defer p.engine.resolved()
		defer cancel()
		decision := p.resolve(ctx, handler, &first, cookie)
		// The loop is open until all of these have ended.
		l.loop.Post(func() { l.decided(f, &decision) })
	})
}

// resolve asks the Handler; one that panics drops.
func (p *Port) resolve(ctx context.Context, h Handler, d *Datagram, cookie any) Decision {
	defer p.guard(&p.lanes[0].count)
	return h.Resolve(ctx, d, cookie)
}

// hold keeps datagrams for a flow that waits. False: they are dropped.
func (l *lane) hold(f *Flow, payload []byte, segment int) bool {
	h, n := f.held, datagrams(payload, segment)
	if h == nil || h.n+n > heldPerFlow || h.bytes+len(payload) > heldBytesPerFlow || !l.room(f, len(payload)) {
		l.count.drop(DropHeld, n)
		return false
	}
	h.payloads = append(h.payloads, heldPayload{slices.Clone(payload), segment})
	h.n += n
	h.bytes += len(payload)
	return true
}

// room takes room for n bytes that wait. A flow that waits for Next takes it
// from the loop's oldest such flow, or a few made-up clients could keep all
// others out: what a client has to say follows at once.
func (l *lane) room(f *Flow, n int) bool {
	for !l.port.engine.holding(n) {
		oldest := l.asking.Front()
		if f.held.asking == nil || oldest == f.held.asking {
			return false
		}
		l.end(oldest.Value.(*Flow), End{Reason: Unresolved})
	}
	return true
}

// release gives back the share of the engine's bound.
func (l *lane) release(h *held) {
	l.answered(h)
	l.port.engine.held.Add(-int64(h.bytes))
	h.payloads, h.n, h.bytes = nil, 0, 0
}

// decided goes on with a flow as Resolve or Next said.
func (l *lane) decided(f *Flow, d *Decision) {
	h := f.held
	f.held = nil
	if d.Cookie != nil {
		f.Cookie = d.Cookie
	}
	if f.state == closed {
		l.tellClosed(f, h.end)
		return
	}
	payloads, n := h.payloads, h.n
	l.release(h)
	f.last = l.loop.Now()
	l.start(f, d, func() {
		for i, p := range payloads {
			if i == 0 {
				l.sendFirst(f, d.Preamble, p.b, p.segment)
			} else {
				l.late(f, p)
			}
		}
	}, n)
}

// late sends what had to wait.
func (l *lane) late(f *Flow, p heldPayload) {
	switch f.state {
	case open:
		l.toUpstream.add(f, p.b, p.segment)
		l.toUpstream.leave(f.fd, l)
	case local:
		l.deliver(f, p.b, p.segment)
	default:
		l.count.drop(DropUpstream, datagrams(p.b, p.segment))
	}
}
