package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"
)

const (
	// tick is how often progress is shown.
	tick = time.Second
	// maxConnecting is how many connections are opened at once before the
	// start.
	maxConnecting = 128
)

// Run measures and prints the result to stdout, as a table or as JSON. It
// returns an error if not a single request was answered.
func Run(ctx context.Context, o Options, stdout io.Writer) error {
	r, err := Measure(ctx, o)
	if err != nil {
		return err
	}
	if o.JSON {
		err = r.WriteJSON(stdout)
	} else {
		err = r.WriteTable(stdout)
	}
	if err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if r.Answers == 0 {
		return errors.New("no request was answered")
	}
	return nil
}

// Measure sends the load that o describes. When ctx ends early, it returns
// what was measured until then, marked as interrupted.
func Measure(ctx context.Context, o Options) (*Result, error) {
	t, err := o.plan()
	if err != nil {
		return nil, err
	}
	m := &measurement{options: o, target: t, rec: newRecorder()}
	defer m.drop()
	if err := m.connect(ctx); err != nil {
		return nil, fmt.Errorf("connecting to %q: %w", t.address, err)
	}
	return m.run(ctx)
}

// measurement is one run. Its goroutines are started in run and joined there.
type measurement struct {
	options Options
	target  target
	rec     *recorder
	workers []*worker
	state   *tls.ConnectionState
	total   tally
	start   time.Time
}

// connect makes the workers and opens their first connections, so that the
// clock starts on a warm set. Only the first connection must succeed; what the
// others could not open, they try again within the measurement.
func (m *measurement) connect(ctx context.Context) error {
	var config *tls.Config
	if m.target.tls {
		config = &tls.Config{
			ServerName:         m.target.host,
			InsecureSkipVerify: m.options.Insecure, //nolint:gosec // The user asks for it by name.
			NextProtos:         []string{"http/1.1"},
		}
	}
	n := m.options.Connections
	if m.options.Requests > 0 {
		n = int(min(int64(n), m.options.Requests))
	}
	m.workers = make([]*worker, n)
	for i := range m.workers {
		m.workers[i] = &worker{
			target:  &m.target,
			tls:     config,
			timeout: m.options.Timeout,
			single:  m.options.Reconnect,
			open:    m.options.Rate > 0,
			out:     &m.rec.shards[i%shards],
			rd:      reader{buf: make([]byte, readBuffer)},
		}
	}
	first := m.workers[0]
	if _, err := first.connect(ctx, time.Now().Add(m.options.Timeout)); err != nil {
		return err
	}
	if tc, ok := first.conn.(*tls.Conn); ok {
		state := tc.ConnectionState()
		m.state = &state
	}
	// Names are resolved once; a resolver is no part of what is measured.
	m.target.address = first.conn.RemoteAddr().String()
	if !m.options.Reconnect {
		m.connectOthers(ctx)
	}
	return ctx.Err()
}

func (m *measurement) connectOthers(ctx context.Context) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxConnecting)
	deadline := time.Now().Add(m.options.Timeout)
	for _, w := range m.workers[1:] {
		slots <- struct{}{}
		wg.Go(func() {
			// A failure shows again, and is counted, at the first exchange.
			_, _ = w.connect(ctx, deadline)
			<-slots
		})
	}
	wg.Wait()
}

func (m *measurement) drop() {
	for _, w := range m.workers {
		w.drop()
	}
}

func (m *measurement) run(ctx context.Context) (*Result, error) {
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	m.start = time.Now()
	m.total = newTally()
	pace, clock := m.pacer()

	abort := context.AfterFunc(work, func() {
		pace.stop()
		for _, w := range m.workers {
			w.abort()
		}
	})
	defer abort()

	var wg sync.WaitGroup
	var clockErr error
	if clock != nil {
		wg.Go(func() {
			if clockErr = clock.run(work); clockErr != nil {
				cancel()
			}
		})
	}
	for _, w := range m.workers {
		w.pace = pace
		wg.Go(func() { w.run(work) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	m.watch(done, pace)
	if clockErr != nil {
		return nil, clockErr
	}
	rest := m.rec.collect()
	m.total.add(&rest)
	return m.result(time.Since(m.start), pace.stop(), ctx.Err() != nil), nil
}

// pacer makes the loop that the options ask for; clock is nil for a closed one.
func (m *measurement) pacer() (p pacer, clock *openLoop) {
	o := &m.options
	if o.Rate == 0 {
		c := &closedLoop{limit: o.Requests}
		if o.Duration > 0 {
			c.end = m.start.Add(o.Duration)
		}
		return c, nil
	}
	limit := o.Requests
	if o.Duration > 0 {
		n := int64(math.Ceil(o.Duration.Seconds() * o.Rate))
		if limit == 0 || n < limit {
			limit = n
		}
	}
	clock = newOpenLoop(m.start, o.Rate, limit)
	return clock, clock
}

// watch shows progress until all workers are done. In an open loop, requests
// that are late when the last one is due get one more timeout to be sent.
func (m *measurement) watch(done <-chan struct{}, pace pacer) {
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	var late <-chan time.Time
	if clock, ok := pace.(*openLoop); ok {
		t := time.NewTimer(time.Until(clock.moment(clock.limit).Add(m.options.Timeout)))
		defer t.Stop()
		late = t.C
	}
	last := m.start
	for {
		select {
		case <-done:
			return
		case <-late:
			pace.stop()
			late = nil
		case now := <-ticks.C:
			t := m.rec.collect()
			m.total.add(&t)
			m.show(&t, now.Sub(last), now.Sub(m.start))
			last = now
		}
	}
}

func (m *measurement) show(t *tally, since, elapsed time.Duration) {
	if m.options.Progress == nil {
		return
	}
	// Progress that cannot be written is no reason to stop measuring.
	_, _ = fmt.Fprintf(m.options.Progress, "%5.0fs  %9.0f answers/s  %8.1f MB/s  p50 %s  p99 %s  max %s  errors %d\n",
		elapsed.Seconds(), float64(t.answers())/since.Seconds(), float64(t.read)/1e6/since.Seconds(),
		micros(t.latency.ValueAtQuantile(50)), micros(t.latency.ValueAtQuantile(99)), micros(t.latency.Max()), m.total.failures())
}
