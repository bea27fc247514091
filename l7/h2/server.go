package h2

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Settings bound what a client may do. They are immutable. A connection keeps
// those that it began with; a stream has the newest limits of its request.
type Settings struct {
	Limits        syntax.Limits // of a header list, counted as RFC 9113 section 10.5.1 does; chunks do not occur
	BodyBytes     int64         // content of a request; 0: no bound
	HeaderTimeout time.Duration // from the first byte of a head to its end, and from accept to the first frame
	IdleTimeout   time.Duration // without a stream
	ReadTimeout   time.Duration // between two reads of a body
	WriteTimeout  time.Duration // of an answer that makes no progress
	Requests      int           // requests on one connection
	Streams       int           // at a time
	StreamWindow  int           // bytes of a request's content that wait to be taken
	Window        int           // the same of all streams of a connection together, beside what Unread lends it
	Unread        int64         // the same of all connections, beyond half of Window of each
	Glitches      int           // what a client may do that is allowed but odd before the connection ends; see glitches
}

// Site is what serves a stream: a listener's part of a snapshot. It is held from
// the end of a head to the end of the exchange, and on while it stays current
// and the connection is busy.
type Site interface {
	l7.Handler
	HTTP2() *Settings
	Current() bool // whether no newer snapshot serves
	Release()
}

// Server serves connections.
type Server struct {
	Acquire func(listener string) Site // never nil
	Metrics *telemetry.Metrics
	Log     *slog.Logger
	Flooded func(client netip.Addr) // told of each connection that used up its glitches; may be nil

	advanced atomic.Int64 // bytes of content beyond the connections' own windows; see conn.buffer
}

// ServeConn serves streams on c until either side ends it, and closes it. input
// is what was read of it already. The preface is not checked for yet.
func (s *Server) ServeConn(c *l4.Conn, input []byte) {
	k := newConn(s, c, input)
	defer k.close()
	k.serve()
}
