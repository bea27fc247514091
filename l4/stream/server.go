package stream

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/relay"
	"github.com/bulwark-edge/bulwark/l4/udp"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Server serves streams. Safe for concurrent use.
type Server struct {
	relay   *relay.Relay
	udp     *udp.Engine
	bans    *l4.Bans
	metrics *telemetry.Metrics
	log     *slog.Logger

	waiting context.Context // ends with the server
	stop    context.CancelFunc

	gate   sync.Mutex // held for a moment only, also by loops
	closed bool       // no goroutine begins any more
	work   sync.WaitGroup

	mu    sync.Mutex
	ports map[*l4.Packets]servedPort
}

// NewServer starts the loops, as many as there are processors. No flow begins of
// a client that is banned. The owner calls Close.
func NewServer(bans *l4.Bans, m *telemetry.Metrics, log *slog.Logger) (*Server, error) {
	s := &Server{udp: udp.New(udp.Limits{}), bans: bans, metrics: m, log: log, ports: make(map[*l4.Packets]servedPort)}
	s.waiting, s.stop = context.WithCancel(context.Background())
	var err error
	s.relay, err = relay.New(runtime.GOMAXPROCS(0), s.panicked)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends what is still served and waits for it. Streams that begin meanwhile,
// or later, end at once; who serves one by ServeConn on the calling goroutine
// waits for that itself.
func (s *Server) Close() {
	s.gate.Lock()
	s.closed = true
	s.gate.Unlock()
	s.stop()
	s.work.Wait()
	s.relay.Close()
}

// run lets f run on a goroutine that Close waits for; false: it is too late.
// While f runs the loops take what is posted.
func (s *Server) run(f func()) bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(f)
	return true
}

func (s *Server) panicked(value any, stack []byte) {
	s.metrics.Panics.Inc()
	s.log.Error("recovering from a panic in a stream", "panic", value, "stack", string(stack))
}

// recovered counts a panic that was recovered just now.
func (s *Server) recovered(value any) { s.panicked(value, debug.Stack()) }

// Pipeline is a listener's part of a snapshot. It is immutable.
type Pipeline struct {
	AccessLog *telemetry.LineLog // nil: none
	Listener  *telemetry.Listener
	// Plan returns what runs for the streams of a route.
	Plan func(*l4.Route) *l4.Plan
	// Release ends a stream's use of the snapshot. It is called once for each
	// stream.
	Release func()

	// Of flows of datagrams.
	Idle    time.Duration // without a datagram, at most; 0: what the service says
	Answers int           // a flow ends after so many for each of the client's datagrams; 0: it does not
}

// guarded runs a step of a stream, which a panic in a hook ends.
func (st *stream) guarded(step func()) {
	defer func() {
		if v := recover(); v != nil {
			st.server.recovered(v)
			st.fail(l4.ReasonInternal)
		}
	}()
	step()
}
