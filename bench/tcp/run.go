package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Run measures and prints the result to stdout, as a table or as JSON. It
// returns an error if nothing has come back.
func Run(ctx context.Context, o Options, stdout io.Writer) error {
	r, err := Measure(ctx, o)
	if err != nil {
		return err
	}
	if err := r.write(stdout, o.JSON); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if r.Bytes == 0 {
		return errors.New("nothing has come back")
	}
	return nil
}

// Measure sends the load that o describes. When ctx ends early, it returns what
// was measured until then.
func Measure(ctx context.Context, o Options) (*Result, error) {
	to, err := o.plan(ctx)
	if err != nil {
		return nil, err
	}
	l, err := epoll.New()
	if err != nil {
		return nil, fmt.Errorf("making a loop: %w", err)
	}
	m := newMeasurement(o, to, l)
	l.Post(m.begin)
	var joined sync.WaitGroup
	joined.Go(l.Run)
	timer := time.NewTimer(o.Duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	l.Post(m.end)
	l.Close()
	joined.Wait()
	return m.result(), nil
}

// measurement is one run. But for newMeasurement and result it belongs to the
// loop.
type measurement struct {
	o       Options
	to      netip.AddrPort
	loop    *epoll.Loop
	message []byte
	buf     []byte
	conns   []conn
	over    bool

	start, stop int64
	trips       int64 // complete
	opened      int64
	bytes       int64 // received
	errors      map[string]Fault
	latency     *hdrhistogram.Histogram // of round trips, with the connect if there is one for each
}

func newMeasurement(o Options, to netip.AddrPort, l *epoll.Loop) *measurement {
	m := &measurement{
		o: o, to: to, loop: l,
		message: make([]byte, o.Size), buf: make([]byte, bufferBytes),
		conns: make([]conn, o.Connections), errors: map[string]Fault{},
		latency: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3),
	}
	for i := range m.message {
		m.message[i] = byte('a' + i%26)
	}
	return m
}

func (m *measurement) begin() {
	m.start = sock.Now()
	for i := range m.conns {
		c := &m.conns[i]
		c.m, c.fd = m, -1
		c.timer.Do = c
		c.open()
	}
}

func (m *measurement) end() {
	m.over = true
	m.stop = sock.Now()
	for i := range m.conns {
		m.conns[i].drop()
	}
}

// fault counts an error by what was being done.
func (m *measurement) fault(doing string, err error) {
	f := m.errors[doing]
	if f.Count == 0 {
		f.First = err.Error()
	}
	f.Count++
	m.errors[doing] = f
}

func (m *measurement) took(ns int64) {
	m.trips++
	us := min(max(ns/1000, 1), m.latency.HighestTrackableValue())
	if err := m.latency.RecordValue(us); err != nil {
		panic("BUG: recording a value within the bounds: " + err.Error())
	}
}
