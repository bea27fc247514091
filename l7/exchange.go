package l7

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
)

// Exchange is one request and its answer. The engine that took it from the
// pool fills Conn, Req, Wire and ID, serves it, and releases it; between those it
// belongs to one goroutine. Nothing may touch an exchange after its release.
type Exchange struct {
	Conn *l4.Info
	Req  Request
	Wire Wire

	ID       string // 32 lower-case hex digits, from the engine: log request.id, X-Kong-Request-Id
	Host     string // Authority in lower case, without port
	Path     string // the normalised path, which routes are matched on
	Match    Match
	Route    *Route           // nil until the router has answered
	Consumer *config.Consumer // set by an authenticating plugin through SetConsumer

	// What authenticating plugins found out. Credential names what the client was
	// recognised by; it is "" for an anonymous client and for one that was not asked.
	Credential string
	Groups     []string // of the client, as its credential tells them; not to be changed
	Unclaimed  bool     // the upstream's header is rid of what the client says it is

	Upstream Upstream // what the upstream is sent
	Tries    []Try    // every try, the last one last
	Resp     Response // the final answer
	Proxied  bool     // the final answer is the upstream's
	Sent     int64    // bytes of the answer's content given to the wire

	pipeline  *Pipeline
	plan      *Plan
	at        int // order of the Request hook that runs
	atStep    int // place of the Response hook that runs
	reply     *Reply
	err       *Error
	headSent  bool
	client    netip.Addr // whom a trusted peer names as the client; the zero value: nobody
	clientIP  string     // client's text
	slots     []slot
	logValues []Field
	verify    string        // see SetClientVerify; "": as the connection's
	certified []Certified   // written under lasting's lock
	lasting   lasting       // its place among those that are looked after if they last
	line      []byte        // what LogLine returns, once it is made
	lineBlock *buf.Block    // where it is made; nil: no log wanted it
	refused   string        // what an engine has read of a head that it refused
	held      heldBody      // the request's body, if any of it was read ahead
	prefix    *heldResponse // Wire, if the answer is held back; the last one that was; nil: none was
	filtered  *filtered     // Wire, if the answer's content passes through filters

	started, forwarded, answered, ended int64 // sock.Now; 0: did not happen
}

// Upstream is what the upstream is sent, as far as it differs from the request.
type Upstream struct {
	Method   string // "": the request's
	Path     string // escaped, without query
	Query    string
	HasQuery bool
	Host     string // the Host field; "" until an endpoint is chosen, if it follows the target
	Prefix   string // the stripped part of the path, for X-Forwarded-Prefix

	// NoTrailer lets the request's trailer fields be dropped: a plugin has
	// removed fields from the header, which they must not bring back.
	NoTrailer bool

	body   []byte // in place of the request's content; nil: that itself
	header Header
	edited bool
}

// Try is one attempt at an endpoint.
type Try struct {
	Addr    netip.AddrPort
	Started int64         // sock.Now
	Latency time.Duration // from the start to the connection's being ready
	Status  int           // of the final head; 0 if none came
	Err     *Error        // why it failed; nil if it did not

	Hedge     bool // it began beside another one that was slow
	Cancelled bool // another one had an answer first
}

// headerRoom is how many fields a new exchange has room for in a head, so that
// the usual one does not make it grow step by step.
const headerRoom = 16

var exchanges = sync.Pool{New: func() any {
	x := new(Exchange)
	x.Req.Header.fields = make([]Field, 0, headerRoom)
	x.Resp.Header.fields = make([]Field, 0, headerRoom)
	return x
}}

// NewExchange takes an empty exchange from the pool.
func NewExchange() *Exchange { return exchanges.Get().(*Exchange) }

// Release empties the exchange and gives it back.
func (x *Exchange) Release() {
	x.held.release()
	x.lineBlock.Put()
	x.Req.reset()
	x.Resp.reset()
	x.Upstream.header.Reset()
	clear(x.slots)
	clear(x.logValues)
	clear(x.certified)
	clear(x.Tries)
	x.Match.Reset()
	*x = Exchange{
		Req:       x.Req,
		Resp:      x.Resp,
		Upstream:  Upstream{header: x.Upstream.header},
		Match:     x.Match,
		Tries:     x.Tries[:0],
		slots:     x.slots[:0],
		logValues: x.logValues[:0],
		certified: x.certified[:0],
	}
	exchanges.Put(x)
}

// Reply answers the exchange now. r may be prebuilt and shared; it is not
// written to.
func (x *Exchange) Reply(r *Reply) Verdict {
	x.reply = r
	return Done
}

// Fail answers the exchange with an error. The pipeline logs it, once.
func (x *Exchange) Fail(err error) Verdict {
	x.err = asError(err)
	return Done
}

// Err returns why the exchange ended early, or nil.
func (x *Exchange) Err() *Error { return x.err }

// Reason returns the code of an early termination.
func (x *Exchange) Reason() Reason {
	switch {
	case x.err != nil:
		return x.err.Reason
	case x.reply != nil:
		return x.reply.Reason
	}
	return ReasonNone
}

// ClientAddr returns the address of the client: that of the connection, or the
// one that a trusted peer names as it.
func (x *Exchange) ClientAddr() netip.Addr {
	if x.client.IsValid() {
		return x.client
	}
	return x.Conn.Client.Addr()
}

// ClientIP returns ClientAddr as text.
func (x *Exchange) ClientIP() string {
	if x.client.IsValid() {
		return x.clientIP
	}
	return x.Conn.ClientIP
}

// SetConsumer makes c the exchange's consumer; from the next hook on, the
// consumer's plan runs.
func (x *Exchange) SetConsumer(c *config.Consumer) {
	x.Consumer = c
	if x.Route != nil && x.pipeline.ConsumerPlan != nil {
		x.plan = x.pipeline.ConsumerPlan(x.Route, c)
	}
}

// Config returns the configuration of the snapshot that serves the exchange.
func (x *Exchange) Config() *config.Config { return x.pipeline.Config }

// TrustsPeer reports whether who opened the connection is in node.trusted_ips.
func (x *Exchange) TrustsPeer() bool { return x.pipeline.Policy.Trusts(x.Conn.Client.Addr()) }

// UpstreamHeader returns the request's fields as the upstream will be sent
// them, for editing. The fields of the connection itself (Host, framing,
// forwarding) are the forwarder's and do not stand in it to any effect.
func (x *Exchange) UpstreamHeader() *Header {
	u := &x.Upstream
	if !u.edited {
		// What the client nominates is dropped here, so that it cannot make a
		// field disappear that is added later.
		any := x.Req.Header.NominatesAny()
		for _, f := range x.Req.Header.Fields() {
			if !any || !x.Req.Header.Nominates(&f) {
				u.header.AddField(f)
			}
		}
		u.edited = true
	}
	return &u.header
}

// Nominates reports whether the client's Connection fields make any field one
// of its connection, which is not forwarded (RFC 9110 section 7.6.1). Once the
// header was edited none is any more.
func (x *Exchange) Nominates() bool {
	return !x.Upstream.edited && x.Req.Header.NominatesAny()
}

// Nominated reports whether the client's Connection fields make f a field of
// its connection; see Nominates.
func (x *Exchange) Nominated(f *Field) bool {
	return x.Nominates() && x.Req.Header.Nominates(f)
}

// HeaderToSend returns what UpstreamHeader would, without a copy while nothing
// was edited. The caller does not change it.
func (x *Exchange) HeaderToSend() *Header {
	if x.Upstream.edited {
		return &x.Upstream.header
	}
	return &x.Req.Header
}

// AddLogValue puts a text into the log entry under its own name.
func (x *Exchange) AddLogValue(name, value string) {
	x.line = nil // a log that comes later tells it
	x.logValues = append(x.logValues, Field{Name: name, Value: value})
}

// SetClientVerify sets what logs tell of the connection's certificate as far as this
// exchange goes, in place of the connection's l4.TLS.ClientVerify: over HTTP/2 there
// are others at the same time. The verdict is l4.VerifySuccess or l4.VerifyFailed with
// a reason.
func (x *Exchange) SetClientVerify(verdict string) {
	x.line = nil // a log that comes later tells it
	x.verify = verdict
}

// clientVerify returns what logs tell of the certificate of the connection, t.
func (x *Exchange) clientVerify(t *l4.TLS) string {
	if x.verify != "" {
		return x.verify
	}
	return t.ClientVerify()
}

// RunUpstreamHooks runs the plan's Upstream hooks, once before each try.
func (x *Exchange) RunUpstreamHooks() Verdict {
	for i := range x.plan.Upstream {
		if x.plan.Upstream[i].Hook.Upstream(x) == Done {
			return Done
		}
	}
	return Next
}

// AddTry records the start of a try at an endpoint, at sock.Now() == now, and
// returns its record, valid until the next one starts.
func (x *Exchange) AddTry(addr netip.AddrPort, now int64) *Try {
	x.Tries = append(x.Tries, Try{Addr: addr, Started: now})
	return &x.Tries[len(x.Tries)-1]
}

// Forwarded returns when the request was given to the upstream leg, in
// sock.Now's time.
func (x *Exchange) Forwarded() int64 { return x.forwarded }

// Answered returns when the final head was there, in sock.Now's time.
func (x *Exchange) Answered() int64 { return x.answered }

// Ended returns when the exchange ended, in sock.Now's time.
func (x *Exchange) Ended() int64 { return x.ended }

// UpstreamMethod returns the method that the upstream is sent.
func (x *Exchange) UpstreamMethod() string {
	if m := x.Upstream.Method; m != "" {
		return m
	}
	return x.Req.Method
}

// Capture returns a group of the regular expression of the route's path, by its
// name or by its number.
func (x *Exchange) Capture(name string) (string, bool) {
	for i := range x.Match.Captures {
		c := &x.Match.Captures[i]
		if c.Name == name && name != "" || strconv.Itoa(c.Group) == name {
			return c.Value, true
		}
	}
	return "", false
}

// Started returns when the head had arrived.
func (x *Exchange) Started() time.Time { return sock.Time(x.started) }
