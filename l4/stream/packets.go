package stream

import (
	"context"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/udp"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// ServePackets serves a UDP listener until it is to end and its flows have, or
// ctx is over. acquire returns the listener's part of the current snapshot, held
// until its Release.
func (s *Server) ServePackets(ctx context.Context, p *l4.Packets, acquire func(listener string) Site) {
	sockets := make([]*udp.Socket, 0, len(p.Sockets))
	var err error
	for _, c := range p.Sockets {
		var socket *udp.Socket
		if socket, err = udp.Take(c); err != nil {
			break
		}
		sockets = append(sockets, socket)
	}
	var port *udp.Port
	h := &flows{server: s, packets: p, acquire: acquire}
	if err == nil {
		port, err = s.open(p, sockets, h)
	}
	if err != nil {
		for _, socket := range sockets {
			_ = socket.Close() // it was never of use
		}
		s.log.Error("serving datagrams", "listener", p.Listener(), "error", err.Error())
		return
	}
	select {
	case <-p.Draining:
		port.Drain(ctx)
	case <-ctx.Done():
	}
	s.close(p)
	port.Close()
}

// open begins to serve, by the bounds of the current snapshot.
func (s *Server) open(p *l4.Packets, sockets []*udp.Socket, h *flows) (*udp.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	site := h.acquire(p.Listener())
	defer site.Release()
	port, err := s.udp.Serve(sockets, h.options(&site))
	if err != nil {
		return nil, err
	}
	s.ports[p] = servedPort{port, h}
	return port, nil
}

// options returns what the engine is to do by a snapshot.
func (h *flows) options(site *Site) udp.Options {
	o := udp.Options{Handler: h, Bounds: site.Bounds, Panicked: h.server.panicked}
	if site.quic() {
		o.Keyer = &h.ids
	}
	if site.Proxied != nil {
		o.Introduce = h.introduce
	}
	return o
}

// introduce takes the client of a proxy from the PROXY header of a flow's first
// datagram.
func (h *flows) introduce(d *udp.Datagram) bool {
	site := h.acquire(h.packets.Listener())
	defer site.Release()
	if site.Proxied == nil || !site.Proxied(d.Peer.Addr().Unmap()) {
		return true
	}
	header, size, err := l4.ParseProxyDatagram(d.Payload)
	if err != nil {
		site.Listener.Refuse(telemetry.RefusedProxyHeader)
		return false
	}
	if header.Client.IsValid() {
		d.Client, d.Local = header.Client, header.Local
	}
	d.Payload = d.Payload[size:]
	return true
}

func (s *Server) close(p *l4.Packets) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ports, p)
}

// servedPort is a UDP listener that is served.
type servedPort struct {
	*udp.Port
	handler *flows
}

// Follow holds the flows that come from now on to the bounds of the snapshot
// that now serves.
func (s *Server) Follow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, port := range s.ports {
		site := port.handler.acquire(p.Listener())
		port.Change(port.handler.options(&site))
		site.Release()
	}
}

// Datagrams returns what the UDP listeners have counted, by name.
func (s *Server) Datagrams() map[string]udp.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]udp.Counts)
	for p, port := range s.ports {
		all[p.Listener()] = port.Counts()
	}
	return all
}
