package l4

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// Packets is a UDP listener. Its sockets are bound to one address, and the kernel
// spreads clients over them (SO_REUSEPORT). Who serves them may take them over; the
// listener closes what is open of them when it has ended.
type Packets struct {
	Sockets  []*net.UDPConn
	Local    netip.AddrPort  // where they are bound
	Draining <-chan struct{} // closed when the listener is to end

	name atomic.Pointer[string]
}

// NewPackets returns the listener of bound sockets. draining is closed when it is
// to end.
func NewPackets(name string, sockets []*net.UDPConn, local netip.AddrPort, draining <-chan struct{}) *Packets {
	p := &Packets{Sockets: sockets, Local: local, Draining: draining}
	p.Rename(name)
	return p
}

// Listener returns the name of the listener, which a reload may change.
func (p *Packets) Listener() string { return *p.name.Load() }

// Rename gives the listener another name. Any goroutine may call it.
func (p *Packets) Rename(name string) { p.name.Store(&name) }
