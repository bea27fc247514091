package stream

import (
	"errors"
	"os"
	"syscall"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/relay"
)

// Stream is a stream under way, for those who may have to end it.
type Stream struct{ *stream }

// ServeSocket serves a stream whose bytes are passed on as they are: of plain
// TCP, or of TLS that is not ours. It takes fd over, a connected socket that
// does not block and that no poller knows, and c, which it closes in the end.
// It returns at once.
func (s *Server) ServeSocket(fd int, info *l4.Info, p *Pipeline, r *l4.Route, protocol config.Protocol, c Client) Stream {
	st := s.begin(info, p, r, protocol, c)
	st.fd, st.loop = fd, s.relay.Loop()
	if !st.loop.Post(func() { st.guarded(st.start) }) {
		st.fail(l4.ReasonDraining)
	}
	return Stream{st}
}

// Cut ends the stream soon, for a drain is over. Any goroutine may call it, also
// once the stream has ended.
func (s Stream) Cut() {
	st := s.stream
	st.loop.Post(func() {
		switch {
		case st.over:
		case st.link != nil:
			st.link.Abort(nil)
		case st.dial != nil:
			st.dial.Cancel()
			st.dial = nil
			st.Endpoint.EndDial()
			st.fail(l4.ReasonDraining)
		default: // it waits for names, which is of no use any more
			st.fail(l4.ReasonDraining)
		}
	})
}

// start lets the hooks judge the stream and goes on to the first try. Like what
// follows it runs on the loop.
func (st *stream) start() {
	if reason := st.admit(); reason != l4.ReasonNone {
		st.fail(reason)
		return
	}
	st.try()
}

// try picks an endpoint and dials it.
func (st *stream) try() {
	if st.over {
		return // it was cut while it waited
	}
	if st.server.waiting.Err() != nil {
		st.fail(l4.ReasonDraining)
		return
	}
	if known := st.service.Balancer.Pending(); known != nil {
		st.wait(known)
		return
	}
	if reason := st.pick(); reason != l4.ReasonNone {
		st.fail(reason)
		return
	}
	st.dial = st.loop.Dial(st.Endpoint.Addr, st.service.ConnectTimeout, func(d *relay.Dial, err error) {
		st.guarded(func() { st.dialed(d, err) })
	})
}

// wait goes on with the try once the names of the service are known.
func (st *stream) wait(known <-chan struct{}) {
	if !st.server.run(func() {
		select {
		case <-known:
		case <-st.server.waiting.Done():
		}
		st.loop.Post(func() { st.guarded(st.try) })
	}) {
		st.fail(l4.ReasonDraining)
	}
}

// dialed links the client with an upstream that was reached, or tries another.
func (st *stream) dialed(d *relay.Dial, err error) {
	st.dial = nil
	st.Endpoint.EndDial()
	if err != nil {
		st.again(dialReason(err), isOurs(err))
		return
	}
	defer d.Cancel() // does nothing to one that is linked
	st.reached()
	fd := st.fd
	st.fd = -1
	st.link = st.loop.Start(relay.Pair{
		Client: fd, Dialed: d, First: st.Preamble, Idle: st.service.IdleTimeout,
		Done: func(r relay.Result) { st.guarded(func() { st.relayed(r) }) },
	})
}

// again notes a failed try and makes another one, unless there have been enough.
func (st *stream) again(reason l4.Reason, ours bool) {
	if st.missed(reason, ours) {
		st.try()
		return
	}
	st.fail(reason)
}

func dialReason(err error) l4.Reason {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return l4.ReasonUpstreamTimeout
	}
	if errors.Is(err, relay.ErrClosed) {
		return l4.ReasonDraining
	}
	return l4.ReasonUpstreamConnect
}

// isOurs reports whether a connection did not come about by our own doing: we
// are out of sockets, or at the end of a drain.
func isOurs(err error) bool {
	for _, own := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, os.ErrPermission, relay.ErrClosed} {
		if errors.Is(err, own) {
			return true
		}
	}
	return false
}
