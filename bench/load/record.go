package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// Histograms count microseconds from 1 to one hour with three digits;
	// longer times count as one hour.
	highest = int64(time.Hour / time.Microsecond)
	digits  = 3
	// shards is how many recorders the workers share, so that they seldom wait
	// for one another. One takes about 0.8 MB.
	shards = 8
)

// kind is why a request got no complete answer.
type kind int

const (
	connectError  kind = iota // The connection could not be opened.
	tlsError                  // The TLS handshake failed.
	writeError                // Sending the request failed.
	closedError               // The connection was closed before the first byte of the answer.
	readError                 // The connection broke within the answer.
	timeoutError              // Options.Timeout passed.
	protocolError             // The answer was not HTTP/1.1.
	kinds
)

func (k kind) String() string {
	return [kinds]string{"connect", "tls", "write", "closed", "read", "timeout", "protocol"}[k]
}

// recorder gathers what workers saw. Each worker writes to one shard.
type recorder struct{ shards [shards]shard }

type shard struct {
	mu    sync.Mutex
	since tally // Since the last collect.
}

// tally is a set of counts and histograms.
type tally struct {
	latency *hdrhistogram.Histogram // From the moment a request was due.
	service *hdrhistogram.Histogram // From the moment it was sent.
	classes [10]int64               // Answers by the first digit of their status.
	errors  [kinds]int64
	samples [kinds]error // The first error of each kind.
	opened  int64        // Connections.
	read    int64        // Bytes.
	written int64        // Bytes.
}

func newTally() tally {
	return tally{
		latency: hdrhistogram.New(1, highest, digits),
		service: hdrhistogram.New(1, highest, digits),
	}
}

func newRecorder() *recorder {
	r := new(recorder)
	for i := range r.shards {
		r.shards[i].since = newTally()
	}
	return r
}

func (s *shard) answered(status int, latency, service time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since.classes[status/100]++
	record(s.since.latency, latency)
	record(s.since.service, service)
}

func (s *shard) failed(k kind, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since.errors[k]++
	if s.since.samples[k] == nil {
		s.since.samples[k] = err
	}
}

func (s *shard) moved(read, written int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since.read += read
	s.since.written += written
}

func (s *shard) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since.opened++
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	us := min(max(int64(d/time.Microsecond), 1), highest)
	if err := h.RecordValue(us); err != nil {
		panic("BUG: recording a value within the bounds: " + err.Error())
	}
}

// collect moves everything gathered since the last call into a new tally.
func (r *recorder) collect() tally {
	t := newTally()
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		t.add(&s.since)
		s.since.reset()
		s.mu.Unlock()
	}
	return t
}

func (t *tally) add(from *tally) {
	t.latency.Merge(from.latency)
	t.service.Merge(from.service)
	for i, n := range from.classes {
		t.classes[i] += n
	}
	for i, n := range from.errors {
		t.errors[i] += n
		if t.samples[i] == nil {
			t.samples[i] = from.samples[i]
		}
	}
	t.opened += from.opened
	t.read += from.read
	t.written += from.written
}

func (t *tally) reset() {
	latency, service := t.latency, t.service
	latency.Reset()
	service.Reset()
	*t = tally{latency: latency, service: service}
}

// answers is the number of complete answers.
func (t *tally) answers() int64 { return t.latency.TotalCount() }

func (t *tally) failures() (n int64) {
	for _, e := range t.errors {
		n += e
	}
	return n
}
