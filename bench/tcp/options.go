package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The modes: what a connection does.
const (
	RoundTrips  = "rtt"     // sends Size bytes, waits for as many, and again
	Bulk        = "bulk"    // reads all that comes
	Connections = "connect" // is opened for one round trip and closed
)

// Defaults and bounds.
const (
	DefaultConnections = 64
	DefaultSize        = 64
	DefaultDuration    = 10 * time.Second
	DefaultTimeout     = 10 * time.Second

	maxConnections = 100_000
	maxSize        = 1 << 20
	maxDuration    = 24 * time.Hour
)

// Options says what is sent to whom.
type Options struct {
	Address     string // host and port
	Mode        string // RoundTrips, Bulk or Connections; empty: RoundTrips
	Connections int    // at once
	Size        int    // bytes of a message
	Duration    time.Duration
	Timeout     time.Duration // of a connect, and of a wait for bytes
	JSON        bool          // how Run prints the result
}

// plan fills the defaults and checks everything.
func (o *Options) plan(ctx context.Context) (netip.AddrPort, error) {
	if o.Mode == "" {
		o.Mode = RoundTrips
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
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
	modes := []string{RoundTrips, Bulk, Connections}
	check(slices.Contains(modes, o.Mode), "mode %q is unknown; known are %s", o.Mode, strings.Join(modes, ", "))
	check(o.Connections > 0 && o.Connections <= maxConnections, "connections is %d; want 1 to %d", o.Connections, maxConnections)
	check(o.Size > 0 && o.Size <= maxSize, "size is %d; want 1 to %d", o.Size, maxSize)
	check(o.Duration > 0 && o.Duration <= maxDuration, "duration is %s; want up to %s", o.Duration, maxDuration)
	check(o.Timeout > 0 && o.Timeout <= maxDuration, "timeout is %s; want up to %s", o.Timeout, maxDuration)
	to, err := resolve(ctx, o.Address)
	return to, errors.Join(append(errs, err)...)
}

// resolve looks a host and port up.
func resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	if to, err := netip.ParseAddrPort(address); err == nil {
		return to, nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading the address %q: %w", address, err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading the port of %q: %w", address, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("looking %q up: %w", host, err)
	}
	return netip.AddrPortFrom(ips[0].Unmap(), uint16(port)), nil
}
