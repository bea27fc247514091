package stream

import (
	"context"
	"net/netip"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/udp"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Site is a listener's part of a snapshot, as flows of datagrams need it.
type Site struct {
	*Pipeline
	Router *l4.Router
	Bounds udp.Bounds
	// Refuses judges a client before its flow is routed.
	Refuses func(*l4.Info) bool
	// Proxied reports whether a peer must begin its flows with a PROXY header;
	// nil: none must.
	Proxied func(peer netip.Addr) bool
}

// quic reports whether a QUIC connection may have to be passed through.
func (s *Site) quic() bool { return s.Router.Has(false, config.TLSPassthrough) }

// flows decides about the flows of a listener's datagrams. It serves every
// snapshot: each flow is of the one that is current when it begins.
type flows struct {
	server  *Server
	packets *l4.Packets
	acquire func(listener string) Site // held until its Release
	ids     quicIDs
	lines   sparing
}

var _ udp.Handler = (*flows)(nil)

// noClient is the client's side of a flow, which has no socket of its own.
type noClient struct{}

func (noClient) Close() error { return nil }

// Admit routes the first datagram of a client and picks an endpoint, if that
// needs no wait.
func (h *flows) Admit(d *udp.Datagram) udp.Decision {
	site, held := h.acquire(h.packets.Listener()), true
	defer func() {
		if held {
			site.Release() // also when a hook panics
		}
	}()
	info := l4.NewInfo(h.packets.Listener(), d.Client, d.Local)
	info.Peer = netip.AddrPortFrom(d.Peer.Addr().Unmap(), d.Peer.Port())
	if why, refused := h.judge(&site, &info); refused {
		site.Listener.Refuse(why)
		return udp.Decision{Verdict: udp.Drop}
	}
	if site.quic() {
		if decision, done := h.greet(&site, &info, d.Payload); done {
			return decision
		}
	}
	held = false // from now on it is the stream's
	return h.route(&site, &info)
}

// route finds the route of a flow and picks an endpoint. It takes over the hold
// of the site.
func (h *flows) route(site *Site, info *l4.Info) udp.Decision {
	protocol := config.UDP
	q := l4.Query{Protocol: protocol, Source: info.Client, Destination: info.Local}
	var route *l4.Route
	if info.Hello != nil {
		protocol = config.TLSPassthrough
		named := q
		named.Protocol, named.SNI = protocol, info.Hello.ServerName
		route = site.Router.Match(&named)
	}
	if route == nil {
		if route = site.Router.Match(&q); route != nil {
			protocol = config.UDP
		}
	}
	st := h.server.begin(info, site.Pipeline, route, protocol, noClient{})
	st.lines = &h.lines
	decision := udp.Decision{Verdict: udp.Drop}
	st.guarded(func() { decision = st.admitFlow() })
	return decision
}

// judge reports whether a client's flow is refused before it is routed.
func (h *flows) judge(site *Site, info *l4.Info) (why telemetry.Refusal, refused bool) {
	if h.server.bans.Has(info.Client.Addr()) {
		return telemetry.RefusedBanned, true
	}
	return telemetry.RefusedPlugin, site.Refuses(info)
}

func (st *stream) admitFlow() udp.Decision {
	if reason := st.admit(); reason != l4.ReasonNone {
		st.fail(reason)
		return udp.Decision{Verdict: udp.Drop}
	}
	if st.service.Balancer.Pending() != nil {
		return udp.Decision{Verdict: udp.Wait, Cookie: st}
	}
	return st.forwardFlow(true)
}

// forwardFlow picks an endpoint. A flow that has none is ended, unless it is
// closed later anyway.
func (st *stream) forwardFlow(end bool) udp.Decision {
	if reason := st.chosen(st.service.Balancer.PickNow(st.choose())); reason != l4.ReasonNone {
		if st.Reason = reason; end {
			st.fail(reason)
		}
		return udp.Decision{Verdict: udp.Drop, Cookie: st}
	}
	st.Connected = sock.Now()
	idle := st.service.IdleTimeout
	if most := st.pipeline.Idle; most > 0 {
		idle = min(idle, most)
	}
	answers := st.pipeline.Answers
	if st.Protocol != config.UDP {
		answers = 0 // a QUIC connection has no number of them
	}
	return udp.Decision{
		Verdict: udp.Forward, Upstream: st.Endpoint.Addr, Idle: idle,
		Answers: answers, Preamble: st.Preamble, Cookie: st,
	}
}

// Resolve picks an endpoint once the names of the service are known.
func (h *flows) Resolve(ctx context.Context, _ *udp.Datagram, cookie any) (d udp.Decision) {
	st := cookie.(*stream)
	d = udp.Decision{Verdict: udp.Drop, Cookie: st}
	if known := st.service.Balancer.Pending(); known != nil {
		select {
		case <-known:
		case <-ctx.Done():
			st.Reason = l4.ReasonNameResolution
			return d
		}
	}
	defer func() {
		if v := recover(); v != nil {
			st.server.recovered(v)
			st.Reason = l4.ReasonInternal
		}
	}()
	return st.forwardFlow(false)
}

// Closed ends the flow's session.
func (h *flows) Closed(f *udp.Flow, end udp.End) {
	st, ok := f.Cookie.(*stream)
	if !ok {
		if g, ok := f.Cookie.(*greeting); ok {
			h.unheard(g, end.Reason)
		}
		return
	}
	if f.Upstream().IsValid() {
		st.lines = nil // it was a flow
	}
	if st.Reason == l4.ReasonNone {
		st.Reason = flowReason(f, end.Reason)
	}
	received, sent := f.Received(), f.Sent()
	upReceived, upSent := f.UpstreamReceived(), f.UpstreamSent()
	st.Received, st.Sent = int64(received.Bytes), int64(sent.Bytes)
	st.UpstreamReceived, st.UpstreamSent = int64(upReceived.Bytes), int64(upSent.Bytes)
	counts := &st.pipeline.Listener.Streams
	counts.DatagramsReceived.Add(received.Datagrams)
	counts.DatagramsSent.Add(sent.Datagrams)
	defer func() { st.end(sock.Now()) }() // also when there is a panic
	if st.Endpoint != nil && st.Endpoint.Watched() {
		st.reportFlow(end.Reason, upReceived.Datagrams > 0)
	}
}

// reportFlow tells the endpoint how the flow went, as far as that says anything
// of it: an upstream need not answer.
func (st *stream) reportFlow(why udp.Reason, answered bool) {
	o := upstream.Outcome{Latency: time.Duration(sock.Now() - st.Connected)}
	switch {
	case why == udp.Unreachable:
		o.Kind = upstream.OutcomeConnect
	case answered:
		o = upstream.Outcome{Kind: upstream.OutcomeStatus, Status: 200} // what Kong's default counts as healthy
	}
	st.Endpoint.Report(o, sock.Now())
}

func flowReason(f *udp.Flow, why udp.Reason) l4.Reason {
	switch why {
	case udp.Idle:
		if f.UpstreamReceived().Datagrams > 0 {
			return l4.ReasonNone // a flow has no other end
		}
		return l4.ReasonIdle
	case udp.Answered:
		return l4.ReasonNone
	case udp.Unreachable:
		return l4.ReasonUpstreamConnect
	case udp.Unresolved:
		return l4.ReasonNameResolution
	case udp.Drained, udp.Closing:
		return l4.ReasonDraining
	}
	return l4.ReasonInternal
}
