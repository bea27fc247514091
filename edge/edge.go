package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/stream"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1"
	"github.com/bulwark-edge/bulwark/l7/h2"
	"github.com/bulwark-edge/bulwark/listeners"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/issuer"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
	"github.com/bulwark-edge/bulwark/upstream"
	"github.com/bulwark-edge/bulwark/upstream/health"
)

// Options are what an Edge is made of.
type Options struct {
	Kinds   []plugins.Kind // in the order they run
	Version string         // Bulwark's own, for Server and Via
	Log     *slog.Logger
	Level   *slog.LevelVar // follows node.log.level; may be nil
}

// Edge is a running edge. Safe for concurrent use.
type Edge struct {
	env       Env
	level     *slog.LevelVar
	version   string
	listeners *listeners.Set
	http      *h1.Server
	http2     *h2.Server
	streams   *stream.Server
	current   atomic.Pointer[Snapshot]
	health    *health.Set
	stop      context.CancelFunc
	work      sync.WaitGroup // the janitor, and what looks after certificates and revocation
	names     *names
	standing  *standing

	defaultSum string           // the digest of env.DefaultCert
	swapped    [3]chan struct{} // each holds one when another snapshot serves than was looked at: for warnings, for stapling, for standing
	applied    atomic.Uint64    // how many snapshots have served

	reloading sync.Mutex // one Reload at a time; taken before mu

	mu       sync.Mutex // one Apply at a time; guards what follows
	status   *telemetry.StatusServer
	statusAt config.Address
	retiring sync.WaitGroup // snapshots that are not retired yet

	reports reports
}

// New returns an edge that serves nothing yet.
func New(o Options) (*Edge, error) {
	fallback, err := certs.SelfSigned(time.Now())
	if err != nil {
		return nil, err
	}
	m := telemetry.NewMetrics(telemetry.Options{Version: o.Version, Reasons: l7.ReasonNames(), UpstreamErrors: l7.ReasonNames(), StreamReasons: l4.ReasonNames(), HTTP2Glitches: h2.GlitchNames()})
	e := &Edge{
		level:   o.Level,
		version: o.Version,
		swapped: [...]chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)},
		env: Env{
			Kinds:       o.Kinds,
			Product:     "bulwark/" + o.Version,
			Log:         o.Log,
			Metrics:     m,
			DefaultCert: fallback,
			Shared:      new(l7.Shared),
			State:       new(plugins.State),
			Bans:        new(l4.Bans),
			Issuer:      issuer.New(issuer.Options{Product: "bulwark/" + o.Version, Log: o.Log}),
			Keys:        policy.NewKeys(),
			Peers:       peer.NewRevocation(peer.Settings{Log: o.Log}),
		},
	}
	m.Register(e.env.Peers) // as long as the process runs, so that no counter falls
	e.standing = newStanding(e)
	e.defaultSum = certs.Describe(fallback, certs.SourceSelfSigned, "", nil).SHA256
	e.env.standing = e.standing
	if e.streams, err = stream.NewServer(e.env.Bans, m, o.Log); err != nil {
		return nil, err
	}
	e.http2 = &h2.Server{Acquire: func(listener string) h2.Site { return e.acquire(listener).(*site) }, Metrics: m, Log: o.Log, Flooded: e.flooded}
	e.http = &h1.Server{Acquire: e.acquire, HTTP2: e.http2.ServeConn, Metrics: m, Log: o.Log}
	e.listeners = listeners.NewSet(e, e.env.Bans, m, o.Log)
	e.health = health.NewSet(o.Log, &m.CheckPanics)
	m.SetUpstreams(e.Upstreams)
	m.SetBans(e.env.Bans.Len)
	m.Register(telemetry.CertificateCollector(e.certificateEnds))
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	e.env.Upstreams = upstream.NewSet()
	e.env.Calls = h2.NewClient(m, o.Log, h2.ClientSettings{})
	e.names = newNames(o.Log, &m.Names)
	e.env.Upstreams.SetResolver(e.names.consul)
	e.work.Go(func() { e.env.Upstreams.Run(ctx) })
	e.work.Go(func() { e.env.Issuer.Run(ctx) })
	m.Register(e.env.Issuer)
	e.env.Stapler = certs.NewStapler(e.env.Peers.Staple, o.Log)
	e.work.Go(func() { e.watchExpiry(ctx, e.swapped[0]) })
	e.work.Go(func() { e.env.Stapler.Run(ctx, e.swapped[1], e.stapled) })
	e.work.Go(func() { e.env.Peers.Run(ctx) })
	e.work.Go(func() { e.standing.run(e.swapped[2]) })
	return e, nil
}

// Env returns what Compile needs of this edge.
func (e *Edge) Env() Env { return e.env }

// Metrics returns what the edge counts.
func (e *Edge) Metrics() *telemetry.Metrics { return e.env.Metrics }

// Current returns the snapshot that serves, or nil before the first Apply.
func (e *Edge) Current() *Snapshot { return e.current.Load() }

// Addr returns where a listener is bound.
func (e *Edge) Addr(listener string) (netip.AddrPort, bool) { return e.listeners.Addr(listener) }

// StatusAddr returns where the status listener is bound; the zero value if it
// is off.
func (e *Edge) StatusAddr() netip.AddrPort {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.status == nil {
		return netip.AddrPort{}
	}
	return e.status.Addr()
}

// Apply lets s serve from now on. What can go wrong (binding sockets) is done
// first: on error the old snapshot serves on, and s is discarded. Applying the
// same snapshot twice is a broken invariant.
func (e *Edge) Apply(ctx context.Context, s *Snapshot) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	node := &s.Config.Node
	change, err := e.listeners.Prepare(s.specs, node.Limits.Connections)
	if err == nil {
		err = e.prepareStatus(ctx, node.Status)
		if err != nil {
			change.Discard()
		}
	}
	if err != nil {
		s.discard()
		return err
	}
	s.begin(e)
	e.names.configure(node)
	e.env.Peers.SetAllow(prefixes(node.Responders))
	s.tellPlugins()
	e.order(ctx, s)
	e.env.Upstreams.SetLimits(poolLimits(&node.Limits)) // before there are requests
	e.env.Calls.SetSettings(callSettings(&node.Limits))
	old := e.current.Swap(s)
	e.applied.Add(1)
	change.Commit(node.Drain.Std())
	e.health.Use(s.checks)
	e.streams.Follow()
	e.env.State.SetCacheBytes(int64(node.Limits.CacheBytes))
	if e.level != nil {
		e.level.Set(logLevel(node.Log.Level))
	}
	e.env.Metrics.SetConfig(s.Config.Hash, time.Now())
	for _, swapped := range e.swapped {
		select {
		case swapped <- struct{}{}:
		default: // it is full, so the new one is looked at
		}
	}
	if old != nil {
		old.release()
	}
	return nil
}

// acquire returns a listener's part of the current snapshot, held once.
func (e *Edge) acquire(listener string) h1.Site {
	for {
		if s := e.current.Load(); s.acquire() {
			return s.site(listener)
		}
	}
}

// Shutdown drains the edge until ctx ends, then ends what is left, and frees
// everything.
func (e *Edge) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reports.setDraining()
	stop := context.AfterFunc(ctx, e.env.Upstreams.StopDialing)
	defer stop()
	e.listeners.Shutdown(ctx)
	e.streams.Close()
	e.standing.end()
	if s := e.current.Load(); s != nil {
		s.release()
	}
	e.retiring.Wait()
	e.health.Close()
	e.stop()
	e.work.Wait()
	e.env.Calls.Close()
	e.env.Upstreams.Close()
	e.env.Peers.Close()
	e.names.close()
	if e.status != nil {
		// ctx may be over, and what the status listener still has to say is short.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return e.status.Close(ctx)
	}
	return nil
}

// prepareStatus lets the status listener be where it is wanted.
func (e *Edge) prepareStatus(ctx context.Context, at config.Address) error {
	if e.status != nil && e.statusAt == at || e.status == nil && at.Off {
		return nil
	}
	var fresh *telemetry.StatusServer
	if !at.Off {
		fresh = telemetry.NewStatusServer(at.String(), e.statusHandler(), e.env.Log)
		if err := fresh.Start(ctx); err != nil {
			return fmt.Errorf("opening node.status: %w", err)
		}
	}
	if e.status != nil {
		if err := e.status.Close(ctx); err != nil {
			e.env.Log.Warn("closing the old status listener", "error", err.Error())
		}
	}
	e.status, e.statusAt = fresh, at
	return nil
}

func (e *Edge) statusHandler() http.Handler {
	m := e.env.Metrics
	return telemetry.StatusHandler(e, m.Handler(), e.version)
}
