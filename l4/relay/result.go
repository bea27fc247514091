package relay

// End says how a link ended.
type End uint8

// The ends. Those of a side name the side whose doing it was.
const (
	EndClosed   End = iota // both sides have closed, everything was delivered
	EndReset               // a side broke off; the other was reset too
	EndIdle                // no byte came in either direction for the idle time
	EndAborted             // by Abort, or the relay was closed
	EndInternal            // a broken invariant
)

var endNames = [...]string{"closed", "reset", "idle", "aborted", "internal"}

// String returns the end as a word.
func (e End) String() string { return endNames[e] }

// Side is one of the two that are relayed.
type Side uint8

// The sides. NoSide is said where neither has done it.
const (
	Client Side = iota
	Upstream
	NoSide
)

// Counts are the bytes of a link so far. What goes to a side counts when the
// kernel has taken it; over TLS it is what lies within.
type Counts struct {
	FromClient, ToUpstream int64 // First counts as sent to the upstream only
	FromUpstream, ToClient int64
}

// Result is the end of a link.
type Result struct {
	End  End
	Side Side  // who closed first, or broke off
	Err  error // of the socket that broke off, or what Abort was given
	Counts
	Ended int64 // sock.Now
}
