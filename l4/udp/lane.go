package udp

import (
	"container/list"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// lane is one socket of a listener with its loop and its flows. All of it
// belongs to the loop.
type lane struct {
	port   *Port
	socket *Socket
	loop   *epoll.Loop
	count  counter

	flows  table
	beside map[key][]*Flow // those of numbered keys, by the plain one
	recent *Flow           // of the last datagram, which the next one often has too

	in      *slots // from clients
	next    [batchSize]int16
	extra   [batchSize]control
	aliases [maxNames]Name // of the datagram at hand
	touched []*Flow        // with datagrams in the batch
	first   Datagram       // of what may become a flow, while the Handler has it
	trust   uint8          // up to mostTrust: how well further looks of Ready did

	answers *slots // from upstreams; those in toClients are in use
	used    int
	leaving bool // flush was asked for

	toClients  train
	toUpstream train

	asking   list.List // of flows, those that wait for Next, the oldest first
	draining bool
	drained  []func() // called once, when the last flow of a drain has ended
	flushing flusher
}

func newLane(p *Port, s *Socket) (_ *lane, err error) {
	l := &lane{port: p, socket: s, flows: newTable(), beside: make(map[key][]*Flow)}
	l.toClients.toClient = true
	l.flushing.lane = l
	l.touched = make([]*Flow, 0, batchSize)
	if l.in, err = newSlots(true); err != nil {
		return nil, err
	}
	if l.answers, err = newSlots(false); err != nil {
		l.in.free()
		return nil, err
	}
	if l.loop, err = epoll.New(); err != nil {
		l.free()
		return nil, err
	}
	l.loop.Panicked = l.panicked
	return l, nil
}

func (l *lane) free() {
	l.in.free()
	l.answers.free()
}

// panicked ends the flow whose datagrams made a hook panic.
func (l *lane) panicked(h epoll.Handler, value any, stack []byte) {
	l.count.drop(DropPanic, 1)
	l.forgetBatch()
	if f, ok := h.(*Flow); ok {
		l.end(f, End{Reason: Failed, Err: errPanic})
	}
	if l.port.told != nil {
		l.port.told(value, stack)
	}
}

var errPanic = errors.New("a hook panicked")

// forgetBatch leaves no flow with datagrams of a batch that was broken off.
func (l *lane) forgetBatch() {
	for _, f := range l.touched {
		f.chain = -1
	}
	l.touched = l.touched[:0]
	l.toUpstream.n, l.toUpstream.used = 0, 0
}

// Ready receives from clients, up to a batch, then the others have their turn.
// What has come while a few datagrams were sent on is received at once, which
// saves a turn of the loop, as long as such looks mostly find something
// (docs/adr/0010). The next turn tells if there is more: a batch that is not full
// says nothing of it, since an error ends it too.
func (l *lane) Ready(uint32) {
	for taken := 0; ; {
		n, err := l.in.receive(l.socket.fd, 0, batchSize)
		if err != nil { // one of an earlier answer, which is told once, or there is nothing
			if err == unix.EAGAIN && taken > 0 && l.trust > 0 {
				l.trust--
			}
			return
		}
		if taken > 0 {
			l.trust = min(l.trust+1, mostTrust)
		}
		for i := range n {
			l.take(i)
		}
		for _, f := range l.touched {
			l.forward(f)
		}
		l.touched = l.touched[:0]
		taken += n
		if taken >= batchSize || n == 1 && l.trust == 0 {
			return
		}
	}
}

// take finds the flow of the i-th datagram and appends it to the flow's chain.
func (l *lane) take(i int) {
	c := &l.extra[i]
	payload := l.in.payload(i)
	if b := l.in.controls(i); len(b) == 0 {
		*c = control{}
	} else if !c.parse(b) {
		l.received(1, len(payload))
		l.count.drop(DropMalformed, 1)
		return
	}
	count := 1
	if c.segment > 0 && len(payload) > c.segment {
		count = (len(payload) + c.segment - 1) / c.segment
	} else {
		c.segment = 0
	}
	l.received(count, len(payload))
	if l.in.truncated(i) {
		l.count.drop(DropOversize, count)
		return
	}
	var k key
	l.in.names[i].n = uint8(l.in.msgs[i].Head.Namelen)
	if !keyOf(&k, &l.in.names[i], int(l.in.names[i].n)) || l.socket.wild && !c.located {
		l.count.drop(DropMalformed, count)
		return
	}
	if l.socket.wild {
		k.local = c.local
	}
	f := l.recent
	if f == nil || f.key != k {
		f = l.flows.find(&k)
	}
	if keyer := l.port.options.Load().Keyer; keyer != nil {
		if f = l.named(keyer, f, &k, i, payload); f == elsewhere {
			return
		}
	}
	if f == nil {
		l.miss(&k, i, count)
		return
	}
	l.recent = f
	l.enchain(f, i, count, len(payload))
}

func (l *lane) received(datagrams, bytes int) {
	l.count.received.Add(uint64(datagrams))
	l.count.receivedBytes.Add(uint64(bytes))
}

// enchain appends a datagram to those of its flow in this batch. The chain runs
// backwards; forward turns it round.
func (l *lane) enchain(f *Flow, i, count, bytes int) {
	f.received.add(count, bytes)
	f.last = l.loop.Now()
	if f.chain < 0 {
		l.touched = append(l.touched, f)
	}
	l.next[i] = f.chain
	f.chain = int16(i)
}

// forward sends the datagrams that a flow has in this batch.
func (l *lane) forward(f *Flow) {
	i := int(f.chain)
	f.chain = -1
	if f.state == open && i >= 0 && l.next[i] < 0 && l.extra[i].segment == 0 {
		l.sendOne(f, i) // by far the most frequent case
		return
	}
	first := -1
	for i >= 0 {
		next := int(l.next[i])
		l.next[i] = int16(first)
		first, i = i, next
	}
	for i := first; i >= 0; i = int(l.next[i]) {
		l.pass(f, i)
	}
	if f.state == open {
		l.toUpstream.leave(f.fd, l)
	}
}

// pass hands the i-th datagram to what its flow is by now.
func (l *lane) pass(f *Flow, i int) {
	payload, segment := l.in.payload(i), l.extra[i].segment
	switch f.state {
	case open:
		if l.toUpstream.full() {
			l.toUpstream.leave(f.fd, l)
		}
		// It may have ended by what became of the others.
		if f.state == open {
			l.toUpstream.add(f, payload, segment)
		} else {
			l.count.drop(DropUpstream, datagrams(payload, segment))
		}
	case waiting:
		l.await(f, payload, segment)
	case local:
		l.deliver(f, payload, segment)
	case closed:
		l.count.drop(DropUpstream, datagrams(payload, segment))
	}
}

// datagrams returns how many there are in a payload.
func datagrams(payload []byte, segment int) int {
	if segment == 0 || len(payload) <= segment {
		return 1
	}
	return (len(payload) + segment - 1) / segment
}

// sendOne sends one datagram to the flow's upstream.
func (l *lane) sendOne(f *Flow, i int) {
	payload := l.in.payload(i)
	err := sock.SendDatagram(f.fd, payload)
	if err == nil {
		f.upstreamSent.add(1, len(payload))
		return
	}
	if !l.lost(f, err, 1) {
		return
	}
	// The upstream had refused an earlier datagram, and this one was not sent:
	// it opens a flow anew, which may go elsewhere. Once; what that flow cannot
	// send is lost.
	k := f.key
	l.miss(&k, i, 1)
}

// sent notes what left.
func (l *lane) sent(c *car, toClient bool) {
	if !toClient {
		c.flow.upstreamSent.add(c.count, c.bytes)
		return
	}
	l.toClient(c.flow, c.count, c.bytes)
}

func (l *lane) toClient(f *Flow, count, bytes int) {
	f.sent.add(count, bytes)
	l.count.sent.Add(uint64(count))
	l.count.sentBytes.Add(uint64(bytes))
}

// unsent deals with a message that could not be sent.
func (l *lane) unsent(fd int, t *train, i int, err error) {
	c := &t.cars[i]
	f, count := c.flow, c.count
	if count > 1 && !f.singly(t.toClient) && cannotCut(err) {
		if t.toClient {
			f.singleToClient = true
		} else {
			f.single = true
		}
		n, bytes, e := t.alone(fd, i)
		if t.toClient {
			l.toClient(f, n, bytes)
		} else {
			f.upstreamSent.add(n, bytes)
		}
		if count -= n; count == 0 {
			return
		}
		err = e
	}
	if t.toClient {
		l.count.drop(dropOf(err), count)
		return
	}
	if l.lost(f, err, count) {
		l.count.drop(DropUpstream, count)
	}
}

// cannotCut reports whether the error may be that the kernel, the device or the
// path does not take UDP_SEGMENT for this size.
func cannotCut(err error) bool {
	return err == unix.EINVAL || err == unix.EIO || err == unix.EMSGSIZE || err == unix.EOPNOTSUPP
}

// lost deals with datagrams that did not get to the upstream. True: the flow has
// ended by that, and they are not counted yet.
func (l *lane) lost(f *Flow, err error, count int) (ended bool) {
	if !isUnreachable(err) {
		l.count.drop(dropOf(err), count)
		return false
	}
	l.end(f, End{Reason: Unreachable, Err: err})
	return true
}

func dropOf(err error) DropReason {
	if err == unix.EMSGSIZE {
		return DropOversize
	}
	return DropUnsent
}

// isUnreachable reports whether an error of a flow's socket says that its
// upstream cannot be reached: an ICMP error, or that there is no route.
func isUnreachable(err error) bool {
	switch err {
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EACCES:
		return true
	}
	return false
}

// localOf returns the address that a flow's client sends to.
func (l *lane) localOf(k *key) netip.AddrPort {
	if !l.socket.wild {
		return l.socket.addr
	}
	return netip.AddrPortFrom(netip.AddrFrom16(k.local).Unmap(), l.socket.addr.Port())
}
