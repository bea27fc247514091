package stream

import (
	"context"
	"errors"
	"log/slog"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/initial"
	"github.com/bulwark-edge/bulwark/l4/udp"
)

// greeting is a QUIC client whose ClientHello has come in part: one with
// post-quantum keys does not fit into a datagram.
type greeting struct {
	info  *l4.Info
	hello *initial.Assembler
}

// decided is the cookie of a flow that ends because nothing serves it, of which
// all is told.
type decided struct{}

// greet looks for a ClientHello in the first datagram of a flow. Not done: info
// has the hello, or the datagram is no QUIC that can be understood, which goes as
// other datagrams do.
func (h *flows) greet(site *Site, info *l4.Info, payload []byte) (d udp.Decision, done bool) {
	header, err := initial.ParseHeader(payload, 0)
	if err != nil || header.Type != initial.TypeInitial {
		return d, false
	}
	a, err := initial.NewAssembler(header.Version, header.DCID)
	if err != nil {
		return d, false
	}
	hello, err := a.Add(payload)
	switch {
	case noPart(err):
		return d, false
	case err != nil:
		h.misheard(info, l4.ReasonBadHello, err)
		return d, true
	case hello == nil:
		return udp.Decision{Verdict: udp.More, Cookie: &greeting{info, a}}, true
	}
	info.Hello = hello
	return d, false
}

// noPart reports whether a datagram plays no part in a handshake: anyone can
// have made it up.
func noPart(err error) bool {
	return errors.Is(err, initial.ErrNoInitial) || errors.Is(err, initial.ErrDecrypt)
}

// Next goes on with a hello, and routes the flow when that is whole.
func (h *flows) Next(payload []byte, cookie any) udp.Decision {
	g := cookie.(*greeting)
	hello, err := g.hello.Add(payload)
	switch {
	case noPart(err), err == nil && hello == nil:
		return udp.Decision{Verdict: udp.More}
	case err != nil:
		h.misheard(g.info, l4.ReasonBadHello, err)
		return udp.Decision{Verdict: udp.Drop, Cookie: decided{}}
	}
	g.info.Hello = hello
	site := h.acquire(h.packets.Listener())
	d := h.route(&site, g.info)
	if d.Verdict == udp.Drop {
		d.Cookie = decided{}
	}
	return d
}

var errUnheard = errors.New("the rest of it did not come in time, or too much waits")

// unheard tells of a flow that ended before its hello was whole.
func (h *flows) unheard(g *greeting, why udp.Reason) {
	switch why {
	case udp.Drained, udp.Closing:
		h.misheard(g.info, l4.ReasonDraining, l4.ErrDraining)
	case udp.Unresolved:
		h.misheard(g.info, l4.ReasonBadHello, errUnheard)
	default:
		h.misheard(g.info, l4.ReasonInternal, errors.New(why.String()))
	}
}

// misheard counts a client that is no stream for want of a hello, and logs why.
func (h *flows) misheard(info *l4.Info, reason l4.Reason, err error) {
	s := h.server
	s.metrics.Streams.Ends.Inc(int(reason))
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("reading a ClientHello", "listener", info.Listener, "client", info.ClientIP, "reason", reason.String(), "error", err.Error())
	}
}
