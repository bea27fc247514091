package udp

import "sync/atomic"

// DropReason is why a datagram was dropped.
type DropReason uint8

// The reasons of drops. Those up to DropLimit end a client's first datagram,
// before there is a flow.
const (
	DropRefused   DropReason = iota // Admit or Resolve said so
	DropDraining                    // a new flow while the listener drains
	DropFlows                       // Limits.Flows or flowsPerSocket is reached
	DropAddress                     // Bounds.FlowsPerAddress is reached
	DropRate                        // Bounds.NewFlowsPerSecond is reached
	DropSocket                      // no socket to the upstream could be opened
	DropHeld                        // too much waits for Resolve or Next, or that came to nothing
	DropOversize                    // larger than can be received, or than the path carries
	DropUnsent                      // the kernel had no room, or would not send it
	DropUpstream                    // the upstream refused it
	DropMalformed                   // the kernel told an address or size that cannot be read
	DropPanic                       // a hook panicked
	DropKernel                      // the kernel's: a receive buffer was full (SO_MEMINFO), a flow's counted at its end
	dropReasons
)

var dropNames = [dropReasons]string{
	"refused", "draining", "flows", "flows_per_address", "new_flows_rate", "socket", "held",
	"oversize", "unsent", "upstream", "malformed", "panic", "kernel",
}

// String returns the reason as it stands in metrics.
func (r DropReason) String() string { return dropNames[r] }

// DropNames returns the names of all reasons, indexed by DropReason.
func DropNames() []string { return dropNames[:] }

// Traffic counts datagrams and their payloads' bytes in one direction.
type Traffic struct{ Datagrams, Bytes uint64 }

func (t *Traffic) add(datagrams, bytes int) {
	t.Datagrams += uint64(datagrams)
	t.Bytes += uint64(bytes)
}

// Counts are what a listener has seen since it was opened. Received counts what
// clients sent, drops included, but for those of the kernel; Sent what was sent
// to clients.
type Counts struct {
	Received, Sent Traffic
	Opened         uint64 // flows
	Flows          int64  // open now
	Drops          [dropReasons]uint64
}

// counter is what one loop counts. Only the loop writes.
type counter struct {
	received, receivedBytes atomic.Uint64
	sent, sentBytes         atomic.Uint64
	opened                  atomic.Uint64
	flows                   atomic.Int64
	drops                   [dropReasons]atomic.Uint64
}

func (c *counter) addTo(t *Counts) {
	t.Received.Datagrams += c.received.Load()
	t.Received.Bytes += c.receivedBytes.Load()
	t.Sent.Datagrams += c.sent.Load()
	t.Sent.Bytes += c.sentBytes.Load()
	t.Opened += c.opened.Load()
	t.Flows += c.flows.Load()
	for i := range c.drops {
		t.Drops[i] += c.drops[i].Load()
	}
}

func (c *counter) drop(r DropReason, n int) { c.drops[r].Add(uint64(n)) }
