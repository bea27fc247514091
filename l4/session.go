package l4

import (
	"net/netip"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Session is a stream from its admission to its end: a relayed connection, or
// a flow of datagrams. One goroutine at a time has it; hooks must not keep it.
type Session struct {
	Info     *Info           // of the client's side
	Protocol config.Protocol // tcp, tls, tls_passthrough or udp
	Route    *Route
	Endpoint *upstream.Endpoint // the one of the last try; nil: none was picked
	Tries    []Try              // the first ones and the last one, see AddTry
	LeftOut  int                // tries between those, which are not kept

	// Preamble goes to the upstream before anything of the client's, such as a
	// PROXY header. UpstreamHook sets it anew for each try.
	Preamble []byte

	// Bytes as Kong counts them: from and to the client, and from and to the
	// upstream. Over TLS they are those within.
	Received, Sent                 int64
	UpstreamReceived, UpstreamSent int64

	Started   int64 // sock.Now when it was admitted
	Connected int64 // sock.Now when the upstream was reached; 0: never
	Ended     int64 // sock.Now; 0 until the Log hooks run
	Reason    Reason

	// Unlogged is how many sessions before this one, which have ended for the same
	// reason, have no line in the access log because there were too many.
	Unlogged uint64
}

// Datagrams reports whether the session is a flow of datagrams, rather than a
// connection: of udp, or of QUIC that is passed through.
func (s *Session) Datagrams() bool {
	return s.Protocol == config.UDP || s.Info.Hello != nil && s.Info.Hello.QUIC
}

// Try is one attempt to reach an endpoint.
type Try struct {
	Addr    netip.AddrPort
	Started int64         // sock.Now
	Latency time.Duration // until it was connected or had failed
	Reason  Reason        // why it failed; ReasonNone: it is the one that serves
}

// maxTries bounds the tries that are kept and logged of a session, whose service
// may want thousands.
const maxTries = 32

// AddTry notes a try that begins. Beyond maxTries each takes the place of the
// last one.
func (s *Session) AddTry(t Try) {
	if len(s.Tries) < maxTries {
		s.Tries = append(s.Tries, t)
		return
	}
	s.Tries[maxTries-1] = t
	s.LeftOut++
}

// A plugin implements the hooks it needs. Hooks may run on a loop that serves
// thousands of streams: they must not wait for anything.
type (
	// SessionHook runs once the route is known and before an upstream is chosen
	// (Kong's preread phase). True refuses the stream, which ends it.
	SessionHook interface {
		Session(s *Session) (refuse bool)
	}
	// UpstreamHook runs before each try, once the endpoint is known.
	UpstreamHook interface{ UpstreamSession(s *Session) }
	// LogHook runs when the stream has ended.
	LogHook interface{ LogSession(s *Session) }
)

// Plan is what runs for a stream, in order. It is immutable.
type Plan struct {
	Session  []Step[SessionHook]
	Upstream []Step[UpstreamHook]
	Log      []Step[LogHook]
}

// Step is one hook of a plan.
type Step[H any] struct {
	Kind string // the plugin's name
	Hook H
}

// NewPlan flattens plugins, which stand in order, into a plan. kinds are their
// names.
func NewPlan(kinds []string, plugins []any) *Plan {
	p := new(Plan)
	for i, kind := range kinds {
		p.Session = appendStep(p.Session, kind, plugins[i])
		p.Upstream = appendStep(p.Upstream, kind, plugins[i])
		p.Log = appendStep(p.Log, kind, plugins[i])
	}
	return p
}

func appendStep[H any](steps []Step[H], kind string, plugin any) []Step[H] {
	if h, ok := plugin.(H); ok {
		return append(steps, Step[H]{Kind: kind, Hook: h})
	}
	return steps
}

// Route is a compiled stream route: what the router returns and the pipeline
// obeys. It is immutable once its snapshot serves, and may be part of several.
type Route struct {
	Entity  *config.Route
	Service *Service // nil: nothing can serve it, which ends the stream
	Plan    *Plan

	text config.LogText
}

// LogJSON returns the entity as it stands in a log entry. It is not to be
// changed.
func (r *Route) LogJSON() []byte { return r.text.Of(r.Entity) }

// Service is a compiled service of streams. It is immutable once its snapshot
// serves, and may be part of several.
type Service struct {
	Entity   *config.Service
	Balancer *upstream.Balancer
	HashOn   HashOn             // what the balancer's consistent hashing goes by
	Identity *upstream.Identity // how TLS to it is spoken; nil for tcp, udp and passthrough
	Host     string             // SNI towards it, "" for the target's own name

	Tries          int           // 1 + retries
	ConnectTimeout time.Duration // for one try
	IdleTimeout    time.Duration // without a byte in either direction (Kong's read_timeout)

	text config.LogText
}

// LogJSON returns the entity as it stands in a log entry. It is not to be
// changed.
func (s *Service) LogJSON() []byte { return s.text.Of(s.Entity) }

// HashOn is what a stream is hashed by; of Kong's inputs only the client's
// address exists for streams.
type HashOn uint8

// The inputs.
const (
	HashOnNothing HashOn = iota
	HashOnClient         // the client's address, without its port
)
