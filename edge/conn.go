package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/stream"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/hello"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

var _ l4.Acceptor = (*Edge)(nil)

// ServePackets serves the flows of a UDP listener.
func (e *Edge) ServePackets(ctx context.Context, p *l4.Packets) {
	e.streams.ServePackets(ctx, p, func(listener string) stream.Site {
		s := e.acquire(listener).(*site)
		return stream.Site{Pipeline: s.stream.pipeline, Router: s.stream.router, Bounds: s.stream.bounds, Refuses: s.guard.refuses, Proxied: s.stream.proxied}
	})
}

// ServeConn serves a client's connection, unless a plugin of its listener
// refuses it: as a stream where the listener has streams and a route wants it,
// else HTTP, within TLS where the listener has that.
func (e *Edge) ServeConn(ctx context.Context, c *l4.Conn) {
	var st routedStream
	e.serveConn(ctx, c, &st)
	if st.route == nil {
		return
	}
	if c.TLS.Judged() {
		defer e.standing.watchStream(c)()
	}
	e.streams.ServeConn(c, st.pipeline, st.route, st.protocol)
}

// routedStream is a stream that is to be served by its pipeline, which gives the
// hold of the snapshot back. It is served where no variable leads to the snapshot
// any more, since it may last for days.
type routedStream struct {
	pipeline *stream.Pipeline
	route    *l4.Route // nil: there is none
	protocol config.Protocol
}

// serveConn is ServeConn but for streams, which it leaves to be served.
func (e *Edge) serveConn(ctx context.Context, c *l4.Conn, st *routedStream) {
	s := e.acquire(c.Listener).(*site)
	why, refused := telemetry.RefusedPlugin, s.refuses(&c.Info)
	if s.serve == config.ServeUDP || c.Raw() && s.serve != config.ServeTCP { // a reload has given the listener's name away
		why, refused = telemetry.RefusedDraining, true
	}
	if refused {
		s.Listener.Refuse(why)
		s.Release()
		c.Close()
		return
	}
	if (s.stream.peeks || s.serve == config.ServeTCP) && e.serveStream(ctx, c, s, st) {
		return
	}
	set, timeout, http2 := s.tls, s.settings.HeaderTimeout, s.http2Only
	s.Release()
	if set != nil && (!e.handshake(ctx, c, set, timeout) || proven(c)) {
		c.Close()
		return
	}
	if http2 || c.TLS != nil && c.TLS.Protocol == protocolHTTP2 {
		e.http2.ServeConn(c, nil)
		return
	}
	e.http.ServeConn(c)
}

// protocolHTTP2 is what ALPN calls HTTP/2.
const protocolHTTP2 = "h2"

// flooded bans the client of a connection that was ended for its many odd frames,
// if clients are banned. One of node.trusted_ips is not: it speaks for others.
func (e *Edge) flooded(client netip.Addr) {
	node := &e.Current().Config.Node
	if slices.ContainsFunc(node.TrustedIPs, func(p schema.Prefix) bool { return p.Contains(client.Unmap()) }) {
		return
	}
	if d := node.Limits.BanTime.Std(); d > 0 {
		e.env.Bans.Add(client, d, "http2_flood")
	}
}

// refuses reports whether a plugin of the listener refuses a connection. When one
// panics the hold of s is given back, which nobody else can do any more.
func (s *site) refuses(info *l4.Info) (refused bool) {
	judged := false
	defer func() {
		if !judged {
			s.Release()
		}
	}()
	refused = s.guard.refuses(info)
	judged = true
	return refused
}

// serveStream makes c a stream, and takes it and the hold of s over. It returns
// false, and has taken nothing, if c is to be served as HTTP.
func (e *Edge) serveStream(ctx context.Context, c *l4.Conn, s *site, st *routedStream) (taken bool) {
	held := true
	defer func() {
		if held && taken {
			s.Release() // also when it panics
		}
	}()
	taken = true
	v := e.findStream(ctx, c, s)
	switch {
	case v.proves:
		if err := c.Handshake(ctx, s.stream.tls, s.settings.HeaderTimeout); err != nil {
			e.explain(ctx, c, "proving control over a name", l4.ReasonTLSHandshake, err)
		}
	case v.protocol == config.TLS:
		v = e.terminate(ctx, c, s, v)
	}
	switch {
	case v.proves:
		c.Close()
	case v.refused:
		if v.reason != l4.ReasonNone {
			e.env.Metrics.Streams.Ends.Inc(int(v.reason))
		}
		c.Close()
	case v.route == nil:
		return false
	default:
		held = false
		*st = routedStream{s.stream.pipeline, v.route, v.protocol}
	}
	return true
}

// terminate shakes hands with the client of a stream. An encrypted hello counts
// in place of the one that was looked at: it says what is asked of the client, so
// it also says where the stream goes.
func (e *Edge) terminate(ctx context.Context, c *l4.Conn, s *site, v verdict) verdict {
	if err := c.Handshake(ctx, s.stream.tls, s.settings.HeaderTimeout); err != nil {
		e.explain(ctx, c, "shaking hands with a stream's client", l4.ReasonTLSHandshake, err)
		return verdict{refused: true, reason: l4.ReasonTLSHandshake}
	}
	if proven(c) { // the hello that counts asked for a proof, so nobody was asked for a certificate
		return verdict{proves: true}
	}
	if c.TLS.ECH {
		v.route = s.stream.matchName(c, c.TLS.ServerName, config.TLS, s.serve == config.ServeHTTPS)
	}
	if v.route == nil {
		return verdict{refused: true, reason: l4.ReasonNoRoute}
	}
	return v
}

// verdict is what becomes of a connection. The zero value is one that is no
// stream.
type verdict struct {
	route    *l4.Route
	protocol config.Protocol
	refused  bool      // it is to be closed
	proves   bool      // an authority looks for a proof, which the handshake is
	reason   l4.Reason // of that; ReasonNone is not counted
}

// findStream finds the route of a stream.
func (e *Edge) findStream(ctx context.Context, c *l4.Conn, s *site) verdict {
	if s.serve == config.ServeTCP {
		if r := s.stream.match(c); r != nil {
			return verdict{route: r, protocol: config.TCP}
		}
		return verdict{refused: true, reason: l4.ReasonNoRoute}
	}
	beside := s.serve == config.ServeHTTPS
	switch err := c.PeekHello(s.stream.hello, s.settings.HeaderTimeout); {
	case err == nil:
	case beside && errors.Is(err, hello.ErrNotTLS):
		return verdict{} // who speaks plain HTTP is told so
	case err == io.EOF, errors.Is(err, l4.ErrDraining):
		// Checks of a port come and leave without a word, and a drain asks to leave
		// who has not spoken.
		return verdict{refused: true}
	default:
		e.explain(ctx, c, "reading a ClientHello", l4.ReasonBadHello, err)
		return verdict{refused: true, reason: l4.ReasonBadHello}
	}
	if e.asksForProof(s, c) {
		return verdict{proves: true}
	}
	r, p := s.stream.matchTLS(c, beside)
	switch {
	case r != nil || beside:
		return verdict{route: r, protocol: p}
	case s.snapshot.ech != nil && s.snapshot.ech.PublicName() == c.Hello.ServerName:
		return verdict{protocol: config.TLS} // where to is known when the hello is decrypted
	}
	c.RefuseName()
	return verdict{refused: true, reason: l4.ReasonNoRoute}
}

// explain logs why a connection is closed.
func (e *Edge) explain(ctx context.Context, c *l4.Conn, what string, reason l4.Reason, err error) {
	if e.env.Log.Enabled(ctx, slog.LevelDebug) {
		e.env.Log.Debug(what, "listener", c.Listener, "client", c.ClientIP, "reason", reason.String(), "error", err.Error())
	}
}

// plainOnTLSBody is what a client is told that speaks HTTP where TLS is wanted,
// and plainOnTLS the answer it stands in.
const plainOnTLSBody = `{"message":"The plain HTTP request was sent to HTTPS port"}`

var plainOnTLS = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: " +
	strconv.Itoa(len(plainOnTLSBody)) + "\r\nConnection: close\r\n\r\n" + plainOnTLSBody

func (e *Edge) handshake(ctx context.Context, c *l4.Conn, set *policy.Set, timeout time.Duration) bool {
	err := c.Handshake(ctx, set, timeout)
	if err == nil {
		return true
	}
	reason := l7.ReasonTLSHandshake
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && looksLikeHTTP(record.RecordHeader[:]) {
		reason = l7.ReasonPlainOnTLS
		_ = c.Socket().SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c.Socket(), plainOnTLS)
	}
	e.env.Metrics.Terminations.Inc(int(reason))
	if e.env.Log.Enabled(ctx, slog.LevelDebug) {
		e.env.Log.Debug("shaking hands with a client", "listener", c.Listener, "client", c.ClientIP, "reason", reason.String(), "error", err.Error())
	}
	return false
}

// looksLikeHTTP reports whether the first five bytes of a connection begin a
// request line.
func looksLikeHTTP(first []byte) bool {
	switch string(first) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "TRACE", "CONNE":
		return true
	}
	return false
}
