package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// reports is what /status tells about configurations. The zero value is ready.
type reports struct {
	mu       sync.Mutex
	loaded   time.Time
	err      string
	errAt    time.Time
	draining bool
}

func (r *reports) setDraining() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
}

func (r *reports) record(err error, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err, r.errAt = err.Error(), at
		return
	}
	r.loaded, r.err, r.errAt = at, "", time.Time{}
}

// Reload loads a configuration and lets it serve. On error the old one serves
// on, and /status tells the error until a later configuration is accepted.
func (e *Edge) Reload(ctx context.Context, load func() (*config.Config, error)) error {
	e.reloading.Lock() // what Compile adopts must not be retired before it is applied
	defer e.reloading.Unlock()
	err := e.reload(ctx, load)
	if err != nil {
		e.env.Metrics.ConfigReloadErrors.Inc()
	} else {
		e.env.Metrics.ConfigReloads.Inc()
	}
	e.reports.record(err, time.Now())
	return err
}

func (e *Edge) reload(ctx context.Context, load func() (*config.Config, error)) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	prev := e.Current()
	var serving *config.Config
	if prev != nil {
		serving = prev.Config
	}
	cfg, changed := cfg.Adopt(serving)
	s, err := Compile(cfg, changed, prev, e.env)
	if err != nil {
		return err
	}
	return e.Apply(ctx, s)
}

// ReopenLogs opens the access log's file anew, and those of plugins, after they
// were moved away.
func (e *Edge) ReopenLogs() error {
	s := e.Current()
	if s == nil {
		return nil
	}
	var errs []error
	if s.accessLog != nil {
		if err := s.accessLog.Reopen(); err != nil {
			errs = append(errs, fmt.Errorf("reopening the access log: %w", err))
		}
	}
	for _, in := range s.plugins {
		if r, ok := in.plugin.(plugins.Reopener); ok {
			if err := r.Reopen(); err != nil {
				errs = append(errs, fmt.Errorf("reopening the log of plugin %q (%s): %w", in.kind.Name, in.entity.ID, err))
			}
		}
	}
	return errors.Join(errs...)
}

var _ telemetry.StatusSource = (*Edge)(nil)

// Status tells the status listener how the edge is.
func (e *Edge) Status() telemetry.Status {
	s := telemetry.Status{Server: e.env.Metrics.Connections(), NodeID: e.env.Metrics.Node()}
	if snap := e.Current(); snap != nil {
		s.ConfigHash = snap.Config.Hash
		if snap.orders() {
			s.ACME = acmeStatus(e.env.Issuer.Status())
		}
		s.ECH = echStatus(snap.ech)
	} else {
		s.NotReady = "no configuration is loaded"
	}
	e.reports.mu.Lock()
	defer e.reports.mu.Unlock()
	s.LoadedAt, s.LastError, s.LastErrorAt = e.reports.loaded, e.reports.err, e.reports.errAt
	s.Draining = e.reports.draining
	return s
}

// echStatus returns what has to stand in DNS. ech may be nil.
func echStatus(ech *policy.ECH) *telemetry.ECHStatus {
	if ech == nil {
		return nil
	}
	now := time.Now()
	return &telemetry.ECHStatus{PublicName: ech.PublicName(), ConfigList: ech.ConfigList(now), Until: ech.Until(now).UTC()}
}
