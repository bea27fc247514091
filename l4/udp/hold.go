package udp

import (
	"context"
	"slices"
)

// held is what a flow has while it waits for Resolve. It belongs to the loop.
type held struct {
	cancel   context.CancelFunc
	payloads []heldPayload
	n        int // datagrams
	bytes    int
	end      End // how the flow ended meanwhile; valid in the state closed
}

type heldPayload struct {
	b       []byte
	segment int
}

// await lets Resolve decide about a flow, on a goroutine of the port's.
func (l *lane) await(f *Flow, d *Datagram, payload []byte, segment int) {
	p := l.port
	if !p.engine.resolving() {
		l.count.drop(DropHeld, datagrams(payload, segment))
		l.end(f, End{Reason: Unresolved})
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, resolveTimeout)
	f.held = &held{cancel: cancel}
	l.hold(f, payload, segment)
	// Beyond the goroutine's own deadline, should a Handler not obey it.
	f.idle = int64(2 * resolveTimeout)
	l.loop.Set(&f.timer, l.loop.Now()+f.idle)
	first := Datagram{Client: d.Client, Local: d.Local, Payload: slices.Clone(d.Payload)}
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

// hold keeps datagrams for a flow that waits.
func (l *lane) hold(f *Flow, payload []byte, segment int) {
	h, n := f.held, datagrams(payload, segment)
	if h == nil || h.n+n > heldPerFlow || h.bytes+len(payload) > heldBytesPerFlow || !l.port.engine.holding(len(payload)) {
		l.count.drop(DropHeld, n)
		return
	}
	h.payloads = append(h.payloads, heldPayload{slices.Clone(payload), segment})
	h.n += n
	h.bytes += len(payload)
}

// release gives back the share of the engine's bound.
func (l *lane) release(h *held) {
	l.port.engine.held.Add(-int64(h.bytes))
	h.payloads, h.n, h.bytes = nil, 0, 0
}

// decided goes on with a flow as Resolve said.
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
				l.first(f, d.Preamble, p.b, p.segment)
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
