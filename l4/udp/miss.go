package udp

import (
	"cmp"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// miss is what becomes of the i-th datagram when it belongs to no flow.
func (l *lane) miss(k *key, i, count int) {
	if l.draining {
		l.count.drop(DropDraining, count)
		return
	}
	options := l.port.options.Load()
	payload, segment := l.in.payload(i), l.extra[i].segment
	d := &l.first
	*d = Datagram{Client: k.clientAddr(), Local: l.localOf(k), Payload: payload}
	d.Peer = d.Client
	if segment > 0 {
		d.Payload = payload[:segment]
	}
	size := len(d.Payload)
	if options.Introduce != nil {
		if introduced, ok := l.introduce(options, d); !introduced {
			if ok {
				l.count.drop(DropRefused, count)
			}
			return
		}
	}
	client := *k
	if d.Client != d.Peer {
		client.client, client.scope = d.Client.Addr().As16(), 0
	}
	t, reason, ok := l.reserve(&client, options)
	if !ok {
		l.count.drop(reason, count)
		return
	}
	decision, ok := l.admit(options.Handler, d)
	if !ok || decision.Verdict == Drop {
		l.port.engine.flows.Add(-1)
		l.port.tenants.leave(t)
		if ok { // a panic is counted already
			l.count.drop(DropRefused, count)
		}
		return
	}
	f := l.begin(k, &l.in.names[i], &l.extra[i], options.Handler, t)
	f.received.add(count, len(payload))
	f.Cookie = decision.Cookie
	f.header = size - len(d.Payload)
	if options.Keyer != nil {
		if names, begins := options.Keyer.Names(l.aliases[:0], d.Payload); begins {
			f.AddName(names[0])
		}
	}
	switch decision.Verdict {
	case Wait:
		f.held = new(held)
		l.hold(f, payload, segment)
		l.resolve(f, d)
	case More:
		l.inquire(f, payload, segment)
	default:
		l.start(f, &decision, func() { l.sendFirst(f, decision.Preamble, payload, segment) }, count)
	}
}

// introduce lets a proxy tell who its client is; not ok: the hook panicked.
func (l *lane) introduce(o *Options, d *Datagram) (introduced, ok bool) {
	defer l.port.guard(&l.count)
	return o.Introduce(d), true
}

// reserve takes a flow's share of all bounds, or tells which is reached.
func (l *lane) reserve(client *key, o *Options) (t *tenant, reason DropReason, ok bool) {
	engine, tenants := l.port.engine, &l.port.tenants
	if engine.flows.Add(1) > int64(cmp.Or(o.Bounds.Flows, engine.limits.Flows)) {
		engine.flows.Add(-1)
		return nil, DropFlows, false
	}
	tk := tenantOf(client)
	t, ok = tenants.enter(tk, o.Bounds.FlowsPerAddress)
	if !ok {
		engine.flows.Add(-1)
		return nil, DropAddress, false
	}
	if o.rates != nil && !o.rates.Allow(tk.addr, l.loop.Now()) {
		engine.flows.Add(-1)
		tenants.leave(t)
		return nil, DropRate, false
	}
	return t, 0, true
}

// admit asks the Handler; false: it panicked.
func (l *lane) admit(h Handler, d *Datagram) (decision Decision, ok bool) {
	defer l.port.guard(&l.count)
	decision = h.Admit(d)
	return decision, true
}

// start lets a flow begin that is decided upon, and sends what it has.
func (l *lane) start(f *Flow, d *Decision, send func(), count int) {
	l.settle(f, d)
	switch d.Verdict {
	case Forward:
		if err := l.connect(f, d); err != nil {
			reason := Failed
			var errno unix.Errno
			if errors.As(err, &errno) && isUnreachable(errno) {
				reason = Unreachable
			}
			l.count.drop(DropSocket, count)
			l.end(f, End{Reason: reason, Err: err})
			return
		}
	case Local:
		f.state = local
	default:
		l.count.drop(DropRefused, count)
		l.end(f, End{Reason: Refused})
		return
	}
	send()
}

// sendFirst sends a flow's first payload, which may be several datagrams; the first
// of them loses its header, and the preamble goes before it.
func (l *lane) sendFirst(f *Flow, preamble, payload []byte, segment int) {
	if len(preamble) > 0 || f.header > 0 {
		p := payload
		if segment > 0 {
			p, payload = payload[:segment], payload[segment:]
		} else {
			payload = nil
		}
		if p = p[f.header:]; f.state == local {
			l.deliver(f, p, 0)
		} else {
			l.sendWith(f, preamble, p)
		}
		if len(payload) == 0 {
			return
		}
	}
	l.late(f, heldPayload{payload, segment})
}

// sendWith sends preamble and payload as one datagram.
func (l *lane) sendWith(f *Flow, preamble, payload []byte) {
	b := make([]byte, 0, len(preamble)+len(payload))
	b = append(append(b, preamble...), payload...)
	if err := sock.SendDatagram(f.fd, b); err == nil {
		f.upstreamSent.add(1, len(b))
	} else if l.lost(f, err, 1) {
		l.count.drop(DropUpstream, 1)
	}
}

// deliver hands datagrams to the listener's Consumer.
func (l *lane) deliver(f *Flow, payload []byte, segment int) {
	c := l.port.consumer
	if c == nil {
		l.count.drop(DropRefused, datagrams(payload, segment))
		return
	}
	c.Deliver(f, payload, segment)
}

// SendTo sends a datagram from one of the listener's addresses to a client:
// what a Consumer answers. Any goroutine may call it. It does not wait: EAGAIN
// says that the kernel has no room. Errors are those of sendmsg(2).
func (p *Port) SendTo(payload []byte, local, client netip.AddrPort) error {
	s := p.lanes[0].socket
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return errClosed
	}
	to := addressOf(client, s.family)
	var source [sourceRoom]byte
	n := 0
	if s.wild {
		n = putSource(source[:], s.family, local.Addr().As16(), zoneIndex(client.Addr().Zone()))
	}
	var m [1]sock.Message
	var iov unix.Iovec
	iov.Base = base(payload)
	iov.SetLen(len(payload))
	m[0].Head.Name, m[0].Head.Namelen = &to.b[0], uint32(to.n)
	m[0].Head.Iov = &iov
	m[0].Head.SetIovlen(1)
	if n > 0 {
		m[0].Head.Control = &source[0]
		m[0].Head.SetControllen(n)
	}
	_, err := sock.SendBatch(s.fd, m[:])
	return err
}
