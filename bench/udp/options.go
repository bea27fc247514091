package udp

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Defaults and bounds of Options.
const (
	DefaultFlows    = 64
	DefaultSize     = 200
	DefaultDuration = 10 * time.Second
	DefaultTimeout  = time.Second

	maxFlows    = 25000 // each takes a port
	maxSize     = 65507 // of a datagram over IPv4
	maxRate     = 10_000_000
	maxDuration = time.Hour
	maxTimeout  = time.Minute
)

// Options describe a run.
type Options struct {
	// Target is the address and port that datagrams are sent to.
	Target string
	// Flows is how many sockets send; 0: DefaultFlows.
	Flows int
	// Size is the payload of a datagram in bytes, at least 24; 0: DefaultSize.
	Size int
	// Rate is how many datagrams a second are sent, by all flows together; 0: the
	// closed loop.
	Rate float64
	// Loss, if not 0, is the share of datagrams that may be lost, and lets the
	// highest rate be searched that keeps to it.
	Loss float64
	// Duration is how long datagrams are sent, in a search at each rate; 0:
	// DefaultDuration.
	Duration time.Duration
	// Timeout is when a datagram counts as lost; 0: DefaultTimeout.
	Timeout time.Duration
	// JSON prints the result as one object.
	JSON bool
	// Progress, if set, gets a line for each rate of a search.
	Progress io.Writer

	target netip.AddrPort
}

// plan fills the defaults and tells all faults at once.
func (o *Options) plan() error {
	fill := func(v *int, normal int) {
		if *v == 0 {
			*v = normal
		}
	}
	fill(&o.Flows, DefaultFlows)
	fill(&o.Size, DefaultSize)
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	var err error
	o.target, err = netip.ParseAddrPort(o.Target)
	check(err == nil && o.target.Port() != 0, "target is %q; want an address and port, such as 127.0.0.1:5353", o.Target)
	check(o.Flows > 0 && o.Flows <= maxFlows, "flows is %d; want 1 to %d", o.Flows, maxFlows)
	check(o.Size >= headBytes && o.Size <= maxSize, "size is %d; want %d to %d", o.Size, headBytes, maxSize)
	check(o.Rate >= 0 && o.Rate <= maxRate, "rate is %g; want up to %d", o.Rate, maxRate)
	check(o.Loss >= 0 && o.Loss < 1, "loss is %g; want a share from 0 to below 1", o.Loss)
	check(o.Loss == 0 || o.Rate == 0, "rate and loss are both set; a search tries rates of its own")
	check(o.Duration >= 0 && o.Duration <= maxDuration, "duration is %s; want up to %s", o.Duration, maxDuration)
	check(o.Timeout > 0 && o.Timeout <= maxTimeout, "timeout is %s; want up to %s", o.Timeout, maxTimeout)
	return errors.Join(errs...)
}
