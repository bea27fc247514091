package listeners

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
)

// packets is a listener of UDP. It owns its sockets; the acceptor serves them.
type packets struct {
	*l4.Packets
	set      *Set
	spec     Spec
	draining chan struct{} // Packets.Draining
	done     chan struct{} // closed when nobody uses the sockets any more
	ctx      context.Context
	cancel   context.CancelFunc
}

// preparePackets finds the listener that serves what spec wants, by this name or
// another, or binds the sockets of a new one. A socket is never handed from one
// listener to another: they would take each other's datagrams. s.mu is held.
func (c *Change) preparePackets(spec Spec) error {
	if p := c.set.udp[spec.Name]; p != nil && p.serves(spec) {
		c.kept[spec.Name] = p
		return nil
	}
	for _, p := range c.set.udp {
		if spec.Port != 0 && p.serves(spec) {
			c.kept[spec.Name] = p
			return nil
		}
	}
	sockets, err := bindPackets(spec)
	if err != nil {
		return err
	}
	c.bound[spec.Name] = newPackets(c.set, spec, sockets)
	return nil
}

// commitPackets lets the new listeners of UDP serve, and drains those that are
// gone. s.mu is held.
func (c *Change) commitPackets(drain time.Duration) {
	s := c.set
	stays := make(map[*packets]bool)
	for name, p := range c.kept {
		stays[p] = true
		p.spec.Name = name
		p.Rename(name)
	}
	for _, p := range s.udp {
		if stays[p] {
			continue
		}
		s.work.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), drain)
			defer cancel()
			p.drain(ctx)
		})
	}
	s.udp = c.kept
	for name, p := range c.bound {
		s.udp[name] = p
		s.work.Go(p.serve)
	}
}

func newPackets(s *Set, spec Spec, sockets []*net.UDPConn) *packets {
	draining := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	local := addrOf(sockets[0])
	return &packets{
		Packets: l4.NewPackets(spec.Name, sockets, local, draining),
		set:     s, spec: spec, draining: draining, done: make(chan struct{}), ctx: ctx, cancel: cancel,
	}
}

// serves reports whether the sockets are what spec wants. Whether others may share
// the address is settled when it is bound, and does not matter afterwards.
func (p *packets) serves(spec Spec) bool {
	port := p.spec.Port
	if spec.Port != 0 {
		port = p.Local.Port()
	}
	return p.spec.Addr == spec.Addr && port == spec.Port
}

// serve lets the acceptor serve until it returns.
func (p *packets) serve() {
	defer close(p.done)
	defer p.close()
	defer func() {
		if v := recover(); v != nil {
			p.set.metrics.Panics.Inc()
			p.set.log.Error("recovering from a panic in a listener", "listener", p.Listener(), "panic", v, "stack", string(debug.Stack()))
		}
	}()
	p.set.acceptor.ServePackets(p.ctx, p.Packets)
}

// drain lets the flows end by themselves until ctx is over; then it cuts them. It
// returns when the sockets are closed. It is called once.
func (p *packets) drain(ctx context.Context) {
	close(p.draining)
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	p.cancel()
	<-p.done
}

func (p *packets) close() {
	p.cancel()
	for _, c := range p.Sockets {
		c.Close()
	}
}

// bindPackets opens one socket for each processor that Go uses, all on one
// address. Without reuse_port nobody else may have it: the first is bound alone
// and shares its port only then.
func bindPackets(spec Spec) (sockets []*net.UDPConn, err error) {
	network, addr := spec.where("udp")
	defer func() {
		if err != nil {
			for _, c := range sockets {
				c.Close()
			}
			sockets, err = nil, fmt.Errorf("listening on %q for listener %q: %w%s", addr, spec.Name, err, advice(err))
		}
	}()
	var first, others net.ListenConfig
	others.Control = sharePort
	if spec.ReusePort {
		first = others
	}
	for len(sockets) < runtime.GOMAXPROCS(0) {
		lc := &others
		if len(sockets) == 0 {
			lc = &first
		}
		pc, err := lc.ListenPacket(context.Background(), network, addr)
		if err != nil {
			return sockets, err
		}
		sockets = append(sockets, pc.(*net.UDPConn))
		if len(sockets) > 1 {
			continue
		}
		raw, err := sockets[0].SyscallConn()
		if err == nil {
			err = sharePort("", "", raw)
		}
		if err != nil {
			return sockets, err
		}
		spec.Port = addrOf(sockets[0]).Port()
		network, addr = spec.where("udp")
	}
	return sockets, nil
}

// addrOf returns where a socket is bound.
func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
