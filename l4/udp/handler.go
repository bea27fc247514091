package udp

import (
	"context"
	"net/netip"
	"time"
)

// Datagram is one datagram of a client. Payload is lent for the call it is
// passed to, and must not be changed.
type Datagram struct {
	Peer          netip.AddrPort // where it came from, and answers go
	Client, Local netip.AddrPort // Peer and our address, unless a proxy tells others
	Payload       []byte
}

// Verdict is what becomes of a client's first datagram.
type Verdict uint8

// The verdicts. The zero value drops.
const (
	Drop    Verdict = iota // the datagram is dropped, and there is no flow
	Forward                // the flow goes to Decision.Upstream
	Wait                   // Resolve is to decide
	Local                  // the flow's datagrams go to the listener's Consumer
	More                   // Next is to decide, once there is another datagram
)

// Decision is what a Handler makes of a flow's first datagram.
type Decision struct {
	Verdict  Verdict
	Upstream netip.AddrPort
	// Idle is how long the flow may be without a datagram in either direction;
	// 0 stands for DefaultIdle.
	Idle time.Duration
	// Answers is how many answers a datagram of the client gets: with as many
	// for each that it has sent, the flow ends. 0: any number.
	Answers int
	// Preamble goes before the first datagram's payload, within that datagram
	// (a PROXY header of version 2).
	Preamble []byte
	// Cookie is the Handler's own, and becomes Flow.Cookie.
	Cookie any
}

// Handler decides about flows. One Handler serves all loops of its listener, so
// its methods are called by several goroutines at once, those of one flow one
// after the other.
type Handler interface {
	// Admit gets the first datagram of what may become a flow. It runs on the
	// loop and must not wait.
	Admit(d *Datagram) Decision
	// Resolve decides for Admit what needs a wait: Forward, Local or Drop. It
	// runs on a goroutine of its own, with a copy of the first datagram and the
	// Cookie of Admit, which its own replaces. When ctx ends, nobody needs the
	// decision any more.
	Resolve(ctx context.Context, d *Datagram, cookie any) Decision
	// Next gets each further datagram of a flow of which Admit, or Next for an
	// earlier one, has said More, and the Cookie of that. It is on the loop and
	// must not wait. All datagrams are kept and go on in their order in the end;
	// if that does not come soon, the flow ends as Unresolved.
	Next(payload []byte, cookie any) Decision
	// Closed is called once for every flow: for each Admit that did not say
	// Drop, and after Next and Resolve. It runs on the loop, must not wait, and
	// must not keep the flow.
	Closed(f *Flow, end End)
}

// End says how a flow ended.
type End struct {
	Reason Reason
	Err    error // what the system said; nil but for Unreachable and Failed
}

// Reason is why a flow ended.
type Reason uint8

// The reasons.
const (
	Idle        Reason = iota // no datagram came for the idle time
	Answered                  // as many answers as Decision.Answers wants
	Unreachable               // the upstream refused datagrams, or there is no way to it
	Failed                    // no socket for it, or an error of our own
	Refused                   // Resolve said Drop
	Unresolved                // Resolve or what Next needs took too long, or too much was under way
	Drained                   // the time of a drain was over
	Closing                   // the listener was closed
)

var reasonNames = [...]string{"idle", "answered", "unreachable", "failed", "refused", "unresolved", "drained", "closing"}

// String returns a short word for logs of tests and errors.
func (r Reason) String() string { return reasonNames[r] }

// Consumer takes the datagrams of flows whose verdict is Local. Deliver runs on
// the loop and must not wait; what it keeps of the payload it copies. segment,
// if not 0, says that the payload is several datagrams of that many bytes, the
// last perhaps shorter, which the kernel has put together. Answers leave by
// Port.SendTo.
type Consumer interface {
	Deliver(f *Flow, payload []byte, segment int)
}

// Keyer names flows by something else than the client's address, such as QUIC's
// connection ids, so that a flow can follow a client to a new address. A
// listener without one pays nothing for it. Its methods run on the loops.
type Keyer interface {
	// Names appends to b what may name the flow of a client's datagram, at most
	// maxNames, the best first; if no flow has any of them, its address decides.
	// begins says that a flow which it begins is named, by the first of them.
	Names(b []Name, payload []byte) (names []Name, begins bool)
	// Begins looks closer at a datagram of which Names said begins, and whose
	// address has a named flow: does it begin another one?
	Begins(payload []byte) bool
	// Unnamed sees a datagram that came to a named flow by its address, because
	// no flow has any of its names. It may call Flow.AddName.
	Unnamed(f *Flow, payload []byte)
	// Moved reports whether a flow may go on at another address of its client,
	// from which this datagram came. False leaves the flow where it is: the
	// datagram is forwarded, answers go where they went.
	Moved(f *Flow, client netip.AddrPort, payload []byte) bool
	// Answer sees each answer of the upstream before it is sent to the client.
	// It may call Flow.AddName.
	Answer(f *Flow, payload []byte)
}

// Name is what names a flow beside its addresses: up to 20 bytes, the most that
// a connection id of QUIC has (RFC 9000, 17.2), filled up with zeros.
type Name struct {
	Bytes [20]byte
	Len   uint8
}

// NameOf makes a name of at most 20 bytes; false: it is longer, or empty.
func NameOf(b []byte) (n Name, ok bool) {
	if len(b) == 0 || len(b) > len(n.Bytes) {
		return n, false
	}
	n.Len = uint8(copy(n.Bytes[:], b))
	return n, true
}
