package handshake

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// retryPause is how long a worker waits after a connection that failed.
const retryPause = 10 * time.Millisecond

// maxBody bounds what is read of one answer, in bytes.
const maxBody = 16 << 20

var errNotResumed = errors.New("the server did not resume the session")

// Run measures and prints the result to stdout, as a table or as JSON. It
// returns an error if no handshake came to its answer.
func Run(ctx context.Context, o Options, stdout io.Writer) error {
	r, err := Measure(ctx, o)
	if err != nil {
		return err
	}
	if err := r.write(stdout, o.JSON); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if r.Handshakes == 0 {
		return errors.New("no handshake came to its answer")
	}
	return nil
}

// Measure sends the load that o describes. When ctx ends early, it returns what
// was measured until then.
func Measure(ctx context.Context, o Options) (*Result, error) {
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	m := &measurement{o: o, plan: p, errors: map[string]Fault{}, latency: newHistogram()}
	start := time.Now()
	var joined sync.WaitGroup
	for range o.Connections {
		joined.Go(func() { m.work(ctx) })
	}
	joined.Wait()
	return m.result(time.Since(start)), nil
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)
}

// measurement is one run.
type measurement struct {
	o    Options
	plan plan

	mu         sync.Mutex // guards what follows
	handshakes int64      // that came to their answer
	resumed    int64
	bytes      int64
	errors     map[string]Fault
	latency    *hdrhistogram.Histogram // from the connect to the answer's end
}

// work makes one connection after the other.
func (m *measurement) work(ctx context.Context) {
	cfg := m.plan.config.Clone()
	if m.o.Resume {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	known := false // a session that can be resumed
	for ctx.Err() == nil {
		t, doing, err := m.trip(ctx, cfg, known)
		switch {
		case err == nil:
			known = m.o.Resume
			m.count(&t)
		case !over(ctx):
			known = false
			m.fault(doing, err)
			select {
			case <-ctx.Done():
			case <-time.After(retryPause):
			}
		}
	}
}

// over reports whether the time of ctx is over, also when its timer is late.
func over(ctx context.Context) bool {
	end, _ := ctx.Deadline()
	return ctx.Err() != nil || !time.Now().Before(end)
}

// trip is what one connection came to.
type trip struct {
	took    time.Duration
	resumed bool
	bytes   int64
}

// trip makes a connection and asks for one answer. On error it tells what was
// being done.
func (m *measurement) trip(ctx context.Context, cfg *tls.Config, resume bool) (t trip, doing string, err error) {
	start := time.Now()
	var d net.Dialer
	d.Deadline = start.Add(m.o.Timeout)
	raw, err := d.DialContext(ctx, "tcp", m.plan.address)
	if err != nil {
		return t, "connecting", err
	}
	c := tls.Client(raw, cfg)
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := raw.SetDeadline(d.Deadline); err != nil {
		return t, "connecting", err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return t, "shaking hands", err
	}
	t.resumed = c.ConnectionState().DidResume
	if resume && !t.resumed {
		return t, "resuming", errNotResumed
	}
	if _, err := io.WriteString(c, "GET "+m.plan.target+" HTTP/1.1\r\nHost: "+m.plan.host+"\r\n\r\n"); err != nil {
		return t, "asking", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return t, "reading the answer", err
	}
	t.bytes, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the answer is %s", resp.Status)
	}
	t.took = time.Since(start)
	return t, "reading the answer", err
}

func (m *measurement) count(t *trip) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handshakes++
	m.bytes += t.bytes
	if t.resumed {
		m.resumed++
	}
	us := min(max(t.took.Microseconds(), 1), m.latency.HighestTrackableValue())
	if err := m.latency.RecordValue(us); err != nil {
		panic("BUG: recording a value within the bounds: " + err.Error())
	}
}

// fault counts an error by what was being done.
func (m *measurement) fault(doing string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.errors[doing]
	if f.Count == 0 {
		f.First = err.Error()
	}
	f.Count++
	m.errors[doing] = f
}
