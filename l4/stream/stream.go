package stream

import (
	"errors"
	"net/netip"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/relay"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// stream is a session and how it is served. It belongs to one goroutine at a
// time: the one that serves it, or the loop that it was handed to.
type stream struct {
	l4.Session
	server   *Server
	pipeline *Pipeline
	client   Client
	kind     telemetry.StreamKind
	service  *l4.Service
	plan     *l4.Plan // nil without a route
	choice   upstream.Choice
	asked    int // tries so far, without those that found their endpoint at its bound
	over     bool

	cutReason func() l4.Reason // of one that a goroutine serves: why it is ended from outside

	// Of a stream on a loop.
	loop *relay.Loop
	fd   int         // the client's; -1: it is the link's, or closed
	dial *relay.Dial // under way
	link *relay.Link

	lines *sparing // of the access log, while there is no flow yet; else nil

	// Of a flow of QUIC.
	idLen int // of the ids that its server has; 0: not known
}

// Client is the client's connection as the stream leaves it.
type Client interface {
	// Close is called once, when the stream has ended. It closes what is still
	// open.
	Close() error
}

// begin makes a stream and counts it in.
func (s *Server) begin(info *l4.Info, p *Pipeline, r *l4.Route, protocol config.Protocol, c Client) *stream {
	st := &stream{server: s, pipeline: p, client: c, kind: kindOf(protocol), fd: -1}
	st.Info, st.Protocol, st.Route, st.Started = info, protocol, r, sock.Now()
	if r != nil {
		st.service, st.plan = r.Service, p.Plan(r)
	}
	p.Listener.Streams.Begin(st.kind)
	return st
}

func kindOf(p config.Protocol) telemetry.StreamKind {
	switch p {
	case config.TLS:
		return telemetry.StreamTLS
	case config.TLSPassthrough:
		return telemetry.StreamPassthrough
	case config.UDP:
		return telemetry.StreamUDP
	}
	return telemetry.StreamTCP
}

// admit runs the Session hooks. It reports whether the stream goes on.
func (st *stream) admit() l4.Reason {
	switch {
	case st.Route == nil:
		return l4.ReasonNoRoute
	case st.service == nil:
		return l4.ReasonNoEndpoint
	}
	for _, h := range st.plan.Session {
		if h.Hook.Session(&st.Session) {
			return l4.ReasonRefused
		}
	}
	if st.service.HashOn == l4.HashOnClient {
		st.choice.Hash, st.choice.Hashed = upstream.Hash(st.Info.ClientIP), true
	}
	return l4.ReasonNone
}

// pick picks an endpoint and counts a connection in that is about to be opened to
// it. Endpoints that others have taken to their bound meanwhile are passed over.
func (st *stream) pick() l4.Reason {
	for {
		if reason := st.chosen(st.service.Balancer.PickNow(st.choose())); reason != l4.ReasonNone {
			return reason
		}
		if st.Endpoint.BeginDial() {
			return l4.ReasonNone
		}
		if !st.passedOver() {
			return l4.ReasonOverLimit
		}
	}
}

// chosen takes the endpoint of a pick and runs the Upstream hooks.
func (st *stream) chosen(e *upstream.Endpoint, err error) l4.Reason {
	if err != nil {
		return pickReason(err)
	}
	st.Endpoint = e
	st.AddTry(l4.Try{Addr: e.Addr, Started: sock.Now()})
	st.Preamble = st.Preamble[:0]
	for _, h := range st.plan.Upstream {
		h.Hook.UpstreamSession(&st.Session)
	}
	return l4.ReasonNone
}

func pickReason(err error) l4.Reason {
	switch {
	case errors.Is(err, upstream.ErrName):
		return l4.ReasonNameResolution
	case errors.Is(err, upstream.ErrOverLimit):
		return l4.ReasonOverLimit
	}
	return l4.ReasonNoEndpoint
}

// choose returns what the next pick depends on.
func (st *stream) choose() *upstream.Choice {
	if len(st.Tries) > 0 {
		st.choice.Tried = st.tried
	}
	return &st.choice
}

func (st *stream) tried(addr netip.AddrPort) bool {
	for i := range st.Tries {
		if st.Tries[i].Addr == addr {
			return true
		}
	}
	return false
}

// reached notes that the try under way has led to a connection.
func (st *stream) reached() {
	now := sock.Now()
	t := &st.Tries[len(st.Tries)-1]
	t.Latency = time.Duration(now - t.Started)
	st.Connected = now
	st.server.metrics.UpstreamConnects.Inc()
	st.server.metrics.Streams.Connect.Observe(time.Duration(now - st.Started))
	if st.Endpoint.Watched() {
		// A connection is the success that health by TCP knows; it counts as
		// Kong's 200.
		st.Endpoint.Report(upstream.Outcome{Kind: upstream.OutcomeStatus, Status: 200, Latency: t.Latency}, now)
	}
}

// missed notes that the try under way has failed, and reports whether another
// one may be made.
func (st *stream) missed(reason l4.Reason, ours bool) (again bool) {
	now := sock.Now()
	latency := st.noteFailure(reason, now)
	if !ours {
		o := upstream.Outcome{Kind: upstream.OutcomeConnect, Latency: latency}
		if reason == l4.ReasonUpstreamTimeout {
			o.Kind = upstream.OutcomeTimeout
		}
		st.Endpoint.Report(o, now)
	}
	st.leave()
	st.asked++
	if ours || st.asked >= st.service.Tries {
		return false
	}
	if !st.service.Balancer.MayRetry(now) {
		st.server.metrics.UpstreamRetriesRefused.Inc()
		return false
	}
	st.server.metrics.UpstreamRetries.Inc()
	return true
}

// passedOver notes that the endpoint of the try under way is opening as many
// connections as it may, and reports whether another one may do. That is no
// retry, since nobody was asked, as it is none for requests.
func (st *stream) passedOver() (again bool) {
	st.noteFailure(l4.ReasonOverLimit, sock.Now())
	st.leave()
	if st.LeftOut > 0 {
		st.asked++ // it is not known any more who was passed over
	}
	return st.asked+1 < st.service.Tries && st.service.Balancer.Others(st.tried, noIdle)
}

// noIdle says that an endpoint has no idle connection for a stream.
func noIdle(*upstream.Endpoint) bool { return false }

// noteFailure notes how the try under way has failed, and returns how long it took.
func (st *stream) noteFailure(reason l4.Reason, now int64) time.Duration {
	t := &st.Tries[len(st.Tries)-1]
	t.Latency, t.Reason = time.Duration(now-t.Started), reason
	return t.Latency
}

// leave lets go of the endpoint.
func (st *stream) leave() {
	st.Endpoint.End()
	st.Endpoint = nil
}

// fail ends a stream that was not relayed.
func (st *stream) fail(reason l4.Reason) {
	if st.over {
		return
	}
	st.Reason = reason
	st.end(sock.Now())
}

// relayed ends a stream that was.
func (st *stream) relayed(r relay.Result) {
	if st.over {
		return
	}
	st.Received, st.UpstreamSent = r.FromClient, r.ToUpstream
	st.UpstreamReceived, st.Sent = r.FromUpstream, r.ToClient
	switch r.End {
	case relay.EndClosed:
	case relay.EndReset:
		st.Reason = l4.ReasonClientReset
		if r.Side == relay.Upstream {
			st.Reason = l4.ReasonUpstreamReset
		}
	case relay.EndIdle:
		st.Reason = l4.ReasonIdle
	case relay.EndAborted:
		st.Reason = l4.ReasonDraining
		if st.cutReason != nil {
			st.Reason = st.cutReason()
		}
	default:
		st.Reason = l4.ReasonInternal
	}
	st.end(r.Ended)
}

// end counts the stream out, runs the Log hooks, and lets go of everything.
func (st *stream) end(now int64) {
	st.over = true
	st.Ended = now
	if st.Endpoint != nil {
		st.Endpoint.End()
	}
	if st.fd >= 0 {
		sock.CloseFD(st.fd)
		st.fd = -1
	}
	m, l := st.server.metrics, &st.pipeline.Listener.Streams
	m.Streams.Ends.Inc(int(st.Reason))
	m.Streams.Duration.Observe(time.Duration(st.Ended - st.Started))
	l.End(st.kind)
	l.Received.Add(uint64(st.Received))
	l.Sent.Add(uint64(st.Sent))
	if st.plan != nil {
		for _, h := range st.plan.Log {
			st.survive(func() { h.Hook.LogSession(&st.Session) })
		}
	}
	if st.pipeline.AccessLog != nil {
		st.survive(st.writeLog)
	}
	_ = st.client.Close() // nobody is left who could do anything about an error
	st.pipeline.Release()
}

// writeLog writes the line of the access log.
func (st *stream) writeLog() {
	if !st.logged() {
		return
	}
	b := buf.Get(buf.Medium)
	defer b.Put()
	st.pipeline.AccessLog.Write(append(st.AppendLogEntry(b.B[:0]), '\n'))
}

// logged reports whether the stream has a line in the access log.
func (st *stream) logged() (ok bool) {
	if st.lines == nil {
		return true
	}
	st.Unlogged, ok = st.lines.line(st.Reason, st.Ended)
	return ok
}

// survive runs a part of the stream's end. A panic ends only that part.
func (st *stream) survive(part func()) {
	defer func() {
		if v := recover(); v != nil {
			st.server.recovered(v)
		}
	}()
	part()
}
