package stream

import (
	"context"
	"errors"
	"os"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/relay"
	"github.com/bulwark-edge/bulwark/upstream"
)

// ServeConn serves a client's connection by its route, nil for none, and takes
// it over. It returns before the stream has ended if that is plaintext on both
// sides or passed through; otherwise the calling goroutine serves it. The
// snapshot is released in the end.
func (s *Server) ServeConn(c *l4.Conn, p *Pipeline, r *l4.Route, protocol config.Protocol) {
	ours := c.TLS == nil || protocol == config.TLSPassthrough
	if ours && (r == nil || r.Service == nil || r.Service.Identity == nil) {
		s.handOver(c, p, r, protocol)
		return
	}
	if c.Raw() { // whoever has accepted it must not wait for it
		st := s.begin(&c.Info, p, r, protocol, c)
		if !s.run(func() { st.serveConn(c) }) {
			st.fail(l4.ReasonDraining)
		}
		return
	}
	s.begin(&c.Info, p, r, protocol, c).serveConn(c)
}

// serveConn serves a connection on the calling goroutine.
func (st *stream) serveConn(c *l4.Conn) {
	if c.Raw() {
		if err := c.Attach(); err != nil {
			st.fail(l4.ReasonInternal)
			return
		}
	}
	ctx, cancel := context.WithCancel(st.server.waiting)
	defer cancel()
	c.OnCut(cancel)
	st.cutReason = c.CutReason
	st.guarded(func() { st.serve(ctx, c) })
}

// handOver lets a loop serve a connection.
func (s *Server) handOver(c *l4.Conn, p *Pipeline, r *l4.Route, protocol config.Protocol) {
	fd, err := c.Detach()
	if err != nil {
		st, reason := s.begin(&c.Info, p, r, protocol, c), l4.ReasonInternal
		if c.Draining() {
			reason = c.CutReason() // which has closed it
		}
		st.fail(reason)
		return
	}
	st := s.ServeSocket(fd, &c.Info, p, r, protocol, c)
	c.OnCut(st.Cut)
}

// serve is what start and its followers are on a loop.
func (st *stream) serve(ctx context.Context, c *l4.Conn) {
	reason := st.admit()
	var conn *upstream.Conn
	for again := true; reason == l4.ReasonNone && conn == nil; {
		if !again {
			reason = st.Tries[len(st.Tries)-1].Reason
			break
		}
		conn, again, reason = st.connect(ctx)
	}
	if conn == nil {
		st.fail(reason)
		return
	}
	defer conn.Close() // again, unless what follows panics
	st.reached()
	st.relayed(relay.Copy(ctx,
		relay.Party{Stream: c, Socket: c.Socket(), Secure: c.TLS != nil},
		relay.Party{Stream: conn, Socket: conn.Socket(), Secure: conn.Secure()},
		nil, st.service.IdleTimeout))
}

// connect makes one try. A reason ends the stream; without one there is a
// connection, or another try may be made, or none.
func (st *stream) connect(ctx context.Context) (conn *upstream.Conn, again bool, reason l4.Reason) {
	if ctx.Err() != nil {
		return nil, false, st.cutReason()
	}
	if known := st.service.Balancer.Pending(); known != nil {
		select {
		case <-known:
		case <-ctx.Done():
			return nil, false, st.cutReason()
		}
	}
	if reason := st.pick(); reason != l4.ReasonNone {
		return nil, false, reason
	}
	conn, err := st.dialNow(ctx)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)): // a drain, which says nothing of the endpoint
		reason := st.cutReason()
		st.missed(reason, true)
		return nil, false, reason
	case err != nil:
		return nil, st.missed(connectReason(err), isOurs(err)), l4.ReasonNone
	}
	return conn, false, l4.ReasonNone
}

// dialNow connects to the endpoint and waits for it. A PROXY header goes before the
// handshake with the upstream.
func (st *stream) dialNow(ctx context.Context) (*upstream.Conn, error) {
	defer st.Endpoint.EndDial()
	return st.Endpoint.Pool(st.service.Identity, st.service.Host).DialAfter(ctx, st.Preamble, st.service.ConnectTimeout)
}

func connectReason(err error) l4.Reason {
	var handshake *upstream.TLSError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded): // net.Dialer says either
		return l4.ReasonUpstreamTimeout
	case errors.As(err, &handshake):
		return l4.ReasonUpstreamTLS
	}
	return l4.ReasonUpstreamConnect
}
