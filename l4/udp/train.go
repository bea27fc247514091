package udp

import (
	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// train gathers datagrams and sends them by one call. Those of one flow that
// have the same size, the last perhaps less, go as one message, which the
// kernel cuts (UDP_SEGMENT). It belongs to a loop; what is added must stay as it
// is until the train has left.
type train struct {
	toClient bool
	msgs     [batchSize]sock.Message
	iovs     [batchSize]unix.Iovec
	control  [batchSize][sendRoom]byte
	cars     [batchSize]car
	n, used  int // messages and iovs

	parts  [batchSize][]byte // what the iovs stand for
	one    [1]sock.Message   // alone's
	oneIov unix.Iovec
}

// car is what a message is made of.
type car struct {
	flow  *Flow
	first int  // of its parts
	count int  // datagrams
	bytes int  // payload
	size  int  // of each datagram but perhaps the last
	open  bool // another datagram may join
}

func (t *train) full() bool { return t.n == batchSize || t.used == batchSize }

// add appends a payload; segment, if not 0, says that it is several datagrams
// of that size. The caller has seen that the train is not full.
func (t *train) add(f *Flow, p []byte, segment int) {
	size, count := len(p), 1
	if segment > 0 && segment < len(p) {
		size, count = segment, (len(p)+segment-1)/segment
	}
	first := t.used
	t.used++
	t.parts[first] = p
	iov := &t.iovs[first]
	iov.Base = base(p)
	iov.SetLen(len(p))
	if t.n > 0 && t.cars[t.n-1].join(f, t.toClient, size, count, len(p)) {
		c, head := &t.cars[t.n-1], &t.msgs[t.n-1].Head
		head.SetIovlen(int(head.Iovlen) + 1)
		t.segment(head, t.n-1, c.size)
		return
	}
	i := t.n
	t.n++
	t.cars[i] = car{flow: f, first: first, count: count, bytes: len(p), size: size, open: size > 0 && len(p)%size == 0}
	head := &t.msgs[i].Head
	head.Iov = iov
	head.SetIovlen(1)
	if t.toClient {
		head.Name, head.Namelen = &f.name.b[0], uint32(f.name.n)
	}
	switch {
	case count > 1:
		t.segment(head, i, size)
	case t.toClient && f.sourceLen > 0:
		head.Control = &f.source[0]
		head.SetControllen(int(f.sourceLen))
	default:
		head.Control = nil
		head.SetControllen(0)
	}
}

// join adds datagrams of a size to the car, if they fit.
func (c *car) join(f *Flow, toClient bool, size, count, bytes int) bool {
	switch {
	case c.flow != f || !c.open || f.singly(toClient):
		return false
	case size > c.size || size < c.size && count > 1:
		return false
	case size == 0 || c.count+count > maxSegments || c.bytes+bytes > maxTrainBytes:
		return false
	}
	c.count += count
	c.bytes += bytes
	c.open = bytes%c.size == 0
	return true
}

// segment lets the kernel cut the i-th message.
func (t *train) segment(head *unix.Msghdr, i, size int) {
	b := t.control[i][:]
	n := 0
	if t.toClient {
		n = copy(b, t.cars[i].flow.source[:t.cars[i].flow.sourceLen])
	}
	n += putSegment(b[n:], size)
	head.Control = &b[0]
	head.SetControllen(n)
}

// base returns where a payload lies; one without bytes lies nowhere.
func base(p []byte) *byte {
	if len(p) == 0 {
		return nil
	}
	return &p[0]
}

// leave sends what was added, tells the lane what became of each message, and
// empties the train.
func (t *train) leave(fd int, l *lane) {
	for at := 0; at < t.n; {
		n, err := sock.SendBatch(fd, t.msgs[at:t.n])
		for ; n > 0; n-- {
			l.sent(&t.cars[at], t.toClient)
			at++
		}
		if err != nil {
			l.unsent(fd, t, at, err)
			at++
			if !t.toClient && t.cars[at-1].flow.state == closed {
				// The descriptor is closed, and may be another flow's by now.
				l.drop(t.cars[at:t.n])
				break
			}
		}
	}
	t.n, t.used = 0, 0
}

// drop counts what a flow that has ended was to send.
func (l *lane) drop(cars []car) {
	for i := range cars {
		l.count.drop(DropUpstream, cars[i].count)
	}
}

// alone sends the datagrams of the i-th message one by one, for a path on which
// they cannot be cut from one. It returns how many datagrams and bytes went, and
// the last error.
func (t *train) alone(fd, i int) (sent, bytes int, err error) {
	c, from := &t.cars[i], &t.msgs[i].Head
	one := &t.one[0]
	one.Head = *from
	one.Head.Iov = &t.oneIov
	one.Head.SetIovlen(1)
	one.Head.Control = nil
	one.Head.SetControllen(0)
	if t.toClient && c.flow.sourceLen > 0 {
		one.Head.Control = &c.flow.source[0]
		one.Head.SetControllen(int(c.flow.sourceLen))
	}
	for _, part := range t.parts[c.first : c.first+int(from.Iovlen)] {
		for len(part) > 0 {
			p := part[:min(c.size, len(part))]
			part = part[len(p):]
			t.oneIov.Base = &p[0]
			t.oneIov.SetLen(len(p))
			if _, e := sock.SendBatch(fd, t.one[:]); e != nil {
				err = e
				continue
			}
			sent++
			bytes += len(p)
		}
	}
	return sent, bytes, err
}
