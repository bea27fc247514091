package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// changesPerRound is how often a change in this process is timed in a round.
const changesPerRound = 20

// localDrain bounds the end of the edge in this process.
const localDrain = 10 * time.Second

// changeInProcess times a change of one route from the decoded configuration to
// the first answer: finding what differs, compiling, applying, asking.
func (s *scaleRun) changeInProcess(ctx context.Context) (err error) {
	e, err := edge.New(edge.Options{Kinds: catalog.All(), Version: "bench", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), localDrain)
		defer cancel()
		err = errors.Join(err, e.Shutdown(ctx))
	}()
	o := s.options(s.o.Routes, 0)
	if err := s.apply(ctx, e, o); err != nil {
		return err
	}
	at, ok := e.Addr("http")
	if !ok {
		return errors.New("the listener is not open")
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	f := figure{name: "change by Apply, to the first answer", unit: "ms", bar: barApply}
	for i := range s.o.Rounds * changesPerRound {
		o.Extra = fmt.Sprintf("/extra-%d", i)
		cfg, err := s.decode(o)
		if err != nil {
			return err
		}
		url := fmt.Sprintf("http://%s%s", at, o.Extra)
		if status, err := statusOf(ctx, client, url, routes.HostOf(0)); err != nil || status != http.StatusNotFound {
			return fmt.Errorf("asking before the change: status %d, error %w", status, err)
		}
		runtime.GC() // what decoding left is no part of the change
		began := time.Now()
		if err := serveNext(ctx, e, cfg); err != nil {
			return err
		}
		status, err := statusOf(ctx, client, url, routes.HostOf(0))
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("asking after the change: status %d, error %w", status, err)
		}
		f.values = append(f.values, inMillis(time.Since(began)))
	}
	s.add(f)
	return nil
}

func (s *scaleRun) decode(o routes.Options) (*config.Config, error) {
	var b bytes.Buffer
	if err := routes.Write(&b, o); err != nil {
		return nil, err
	}
	return config.Load(b.Bytes(), catalog.All(), config.Origin{})
}

func (s *scaleRun) apply(ctx context.Context, e *edge.Edge, o routes.Options) error {
	cfg, err := s.decode(o)
	if err != nil {
		return err
	}
	return serveNext(ctx, e, cfg)
}

// serveNext lets an edge serve a configuration, as a reload does.
func serveNext(ctx context.Context, e *edge.Edge, cfg *config.Config) error {
	return e.Reload(ctx, func() (*config.Config, error) { return cfg, nil })
}

// lookups is how many look-ups one round times.
const lookups = 1_000_000

// lookUp times the router alone, with one route and with all.
func (s *scaleRun) lookUp(context.Context) error {
	one := figure{name: "look-up, 1 route", unit: "us"}
	many := figure{name: "look-up, all routes, all asked for at random", unit: "us"}
	for range s.o.Rounds {
		for _, f := range []*figure{&one, &many} {
			count := 1
			if f == &many {
				count = s.o.Routes
			}
			took, err := s.timeLookups(count)
			if err != nil {
				return err
			}
			f.values = append(f.values, float64(took.Nanoseconds())/lookups/1e3)
		}
	}
	many.bar = one.median() + barLookup
	s.add(one)
	s.add(many)
	return nil
}

// timeLookups looks every route of so many up, a million times in all, in an
// order that makes no use of neighbours. There are as many requests as the run
// has routes, each with texts of its own, however few routes are looked up:
// what it costs to fetch them from memory is no part of the difference. (The
// texts of a request that was just read lie in the cache.)
func (s *scaleRun) timeLookups(count int) (time.Duration, error) {
	cfg, err := s.decode(s.options(count, 0))
	if err != nil {
		return 0, err
	}
	var list []*l7.Route
	for _, e := range cfg.Routes.All() {
		list = append(list, &l7.Route{Entity: e})
	}
	queries := make([]l7.Query, s.o.Routes)
	for i := range queries {
		n := i % count
		queries[i] = l7.Query{Method: http.MethodGet, Host: routes.HostOf(n), Path: routes.Path(n), Port: 80, Header: new(l7.Header)}
	}
	router, err := l7.NewRouter(list)
	if err != nil {
		return 0, err
	}
	const stride = 7919 // a prime, so that all are met
	var m l7.Match
	began := time.Now()
	for i, at := 0, 0; i < lookups; i++ {
		if !router.Match(&queries[at], &m) {
			return 0, fmt.Errorf("route %d is not found", at)
		}
		at = (at + stride) % len(queries)
	}
	return time.Since(began), nil
}
