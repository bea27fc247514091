package udp

import (
	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// receiveAnswer reads one datagram that the upstream of a flow has sent, and
// puts it among what leaves for clients at the end of the turn. If there is
// more, the loop tells it in the next turn; that costs less than to look, as long
// as there seldom is (docs/adr/0010).
func (l *lane) receiveAnswer(f *Flow) {
	if l.used == batchSize || l.toClients.full() {
		l.flush()
	}
	payload := l.answers.slot(l.used)
	n, err := sock.ReceiveDatagram(f.fd, payload)
	if err != nil {
		l.answerFailed(f, err)
		return
	}
	l.used++
	f.last = l.loop.Now()
	f.upstreamReceived.add(1, n)
	if n > len(payload) {
		l.count.drop(DropOversize, 1)
	} else {
		l.answer(f, payload[:n], 0)
	}
	l.leave(f)
	turn := l.loop.Counts().Turns
	if f.streak++; turn != f.seen+1 {
		f.streak = 0
	}
	f.seen = turn
	if f.streak >= bulkStreak && f.state == open {
		// What the kernel puts together from now on only ReceiveBatch can take
		// apart, so there is no way back.
		f.bulk = true
		gather(f.fd)
	}
}

// receiveAnswers is receiveAnswer for a flow with many of them.
func (l *lane) receiveAnswers(f *Flow) {
	if l.used == batchSize || l.toClients.full() {
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
		l.gathered(f, i)
	}
	l.leave(f)
}

// leave sees to it that what was gathered leaves, and ends a flow that has had
// its answers.
func (l *lane) leave(f *Flow) {
	if !l.leaving {
		l.leaving = true
		l.loop.Again(&l.flushing)
	}
	if f.answers > 0 && f.upstreamReceived.Datagrams >= uint64(f.answers)*f.received.Datagrams {
		l.end(f, End{Reason: Answered})
	}
}

// gathered takes the i-th slot, which may be several answers.
func (l *lane) gathered(f *Flow, i int) {
	payload, segment := l.answers.payload(i), 0
	if b := l.answers.controls(i); len(b) > 0 {
		var c control
		if !c.parse(b) {
			f.upstreamReceived.add(1, len(payload))
			l.count.drop(DropMalformed, 1)
			return
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
	l.answer(f, payload, segment)
}

// answer lets an answer, or several, leave for the client.
func (l *lane) answer(f *Flow, payload []byte, segment int) {
	if k := l.port.options.Load().Keyer; k != nil && len(f.names) > 0 {
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
