package upstream

import (
	"context"
	"net/netip"
)

// Resolver finds what a host name stands for. It is safe for concurrent use.
type Resolver interface {
	// Resolve returns what is known of name. It waits, within ctx, only while
	// nothing is known; an answer that is past its time is returned at once and
	// asked for anew aside. The error wraps ErrName if the name has no address.
	Resolve(ctx context.Context, name string) (Answer, error)
}

// Answer is what a name stands for at present. It is never written to.
type Answer struct {
	Records []Record // in a stable order, at least one
	Expires int64    // sock.Now when the name should be asked for again
}

// Record is one place that a name stands for.
type Record struct {
	Addr   netip.Addr
	Port   uint16 // 0: the target's own; else the SRV record's
	Weight int    // share within the name, at least 1; all equal but for SRV
	Name   string // the host that an SRV record names, else ""
}
