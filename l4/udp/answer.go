package udp

import "golang.org/x/sys/unix"

// receiveAnswers reads what the upstream of a flow has sent, and puts it among
// what leaves for clients at the end of the turn.
func (l *lane) receiveAnswers(f *Flow) {
	// A batch of one would not tell whether there is more.
	if batchSize-l.used < 2 || batchSize-l.toClients.used < 2 {
		l.flush()
	}
	want := min(answersAtOnce, batchSize-l.used, batchSize-l.toClients.used)
	n, err := l.answers.receive(f.fd, l.used, want)
	if err != nil {
		l.answerFailed(f, err)
		return
	}
	first := l.used
	l.used += n
	f.last = l.loop.Now()
	for i := first; i < first+n; i++ {
		l.answer(f, i)
	}
	if !l.leaving {
		l.leaving = true
		l.loop.Again(&l.flushing)
	}
	switch {
	case f.answers > 0 && f.upstreamReceived.Datagrams >= uint64(f.answers)*f.received.Datagrams:
		l.flush() // what it is told at its end includes these
		l.end(f, End{Reason: Answered})
	case n == want:
		l.loop.Again(f)
	}
}

// answer takes the i-th answer.
func (l *lane) answer(f *Flow, i int) {
	payload, segment := l.answers.payload(i), 0
	if b := l.answers.controls(i); len(b) > 0 {
		c := &l.extra[0] // no batch of clients is under way
		if !c.parse(b) {
			f.upstreamReceived.add(1, len(payload))
			l.count.drop(DropMalformed, 1)
			return
		}
		if c.dropped {
			l.count.drop(DropKernel, int(c.drops-f.kernelDrops))
			f.kernelDrops = c.drops
		}
		if segment = c.segment; len(payload) <= segment {
			segment = 0
		}
	}
	count := datagrams(payload, segment)
	f.upstreamReceived.add(count, len(payload))
	if l.answers.truncated(i) {
		l.count.drop(DropOversize, count)
		return
	}
	if k := l.port.options.Keyer; k != nil {
		each(payload, segment, func(p []byte) { k.Answer(f, p) })
	}
	l.toClients.add(f, payload, segment)
}

// answerFailed deals with an error of a flow's socket, which the kernel tells
// once.
func (l *lane) answerFailed(f *Flow, err error) {
	switch {
	case err == unix.EAGAIN:
	case isUnreachable(err):
		l.end(f, End{Reason: Unreachable, Err: err})
	case err == unix.EMSGSIZE:
		// The path carries less than was sent (ICMP); what was too large is lost.
		l.count.drop(DropOversize, 1)
		l.loop.Again(f)
	default:
		l.end(f, End{Reason: Failed, Err: err})
	}
}

// flusher is what the loop calls once all events of a turn are told.
type flusher struct{ lane *lane }

// Ready sends what was gathered for clients.
func (f *flusher) Ready(uint32) {
	f.lane.leaving = false
	f.lane.flush()
}

// flush sends the answers that were gathered, which frees their slots.
func (l *lane) flush() {
	l.toClients.leave(l.socket.fd, l)
	l.used = 0
}

// each calls f for every datagram of a payload.
func each(payload []byte, segment int, f func(p []byte)) {
	if segment <= 0 {
		f(payload)
		return
	}
	for len(payload) > 0 {
		n := min(segment, len(payload))
		f(payload[:n])
		payload = payload[n:]
	}
}
