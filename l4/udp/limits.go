package udp

import "time"

// Bounds that are not settings.
const (
	// batchSize is how many datagrams one call receives or sends.
	batchSize = 32
	// mostTrust is how many looks for more datagrams of clients must fail before
	// none is taken after a lone one.
	mostTrust = 4
	// slotBytes is room for any datagram, and for what the kernel puts together
	// of several (UDP_GRO).
	slotBytes = 64 << 10
	// answersAtOnce is how many answers of one flow are read before the other
	// flows have their turn.
	answersAtOnce = 16
	// bulkStreak is after how many turns in a row with an answer a flow's answers
	// are read in batches.
	bulkStreak = 4
	// maxSegments and maxTrainBytes bound what is sent as one by UDP_SEGMENT;
	// the kernel takes 64 and what fits into an IP packet.
	maxSegments   = 64
	maxTrainBytes = 65000

	// heldPerFlow and heldBytesPerFlow bound what waits for Resolve or Next.
	heldPerFlow      = 8
	heldBytesPerFlow = 16 << 10
	// resolveTimeout bounds Resolve.
	resolveTimeout = 10 * time.Second
	// moreTimeout bounds the time that a flow waits for the datagrams that Next
	// needs: of a client that sends what was lost once more after a second.
	moreTimeout = 3 * time.Second
	// namesPerFlow is how many names a flow has at a time; the oldest go first.
	namesPerFlow = 8
	// maxNames is how many names a datagram may have.
	maxNames = 20
	// flowsPerSocket is how many named flows a client's address and port may
	// have.
	flowsPerSocket = 64
)

// DefaultIdle is the idle time of a flow whose Decision names none.
const DefaultIdle = 60 * time.Second

// Limits bound an engine: all of its listeners together. Zero values stand for
// the defaults.
type Limits struct {
	Flows     int // flows, and so sockets to upstreams; DefaultFlows
	HeldBytes int // datagrams that wait for Resolve or Next; DefaultHeldBytes
	Resolves  int // calls of Resolve at a time; DefaultResolves
}

// The defaults of Limits.
const (
	DefaultFlows     = 65536
	DefaultHeldBytes = 4 << 20
	DefaultResolves  = 256
)

// Bounds bound one listener. Zero values are no bound.
type Bounds struct {
	Flows             int // flows of the engine's listeners, in place of Limits.Flows
	FlowsPerAddress   int // flows of one client address
	NewFlowsPerSecond int // of one client address, as many of them at once
}
