package prometheus

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// labels are what the series of a cell have in common.
type labels struct{ service, route, consumer string }

// cell is what is counted of a route, of requests or of streams, or of a route and a consumer. Safe for
// concurrent use.
type cell struct {
	labels

	requestBytes, responseBytes telemetry.Counter
	codes                       atomic.Pointer[[]*codeCount]  // never written to, only replaced
	latencies                   atomic.Pointer[latencyCounts] // nil until the first one
	stream                      bool                          // the route is one of streams
	mu                          sync.Mutex                    // held to replace what can be
}

// codeCount counts the answers, or the streams, of one status and source.
type codeCount struct {
	status  int // 0: others
	proxied bool
	n       telemetry.Counter
}

// maxCodes bounds the pairs of status and source of a cell.
const maxCodes = 64

// count counts an answer, or a stream.
func (c *cell) count(status int, proxied bool) {
	if k := c.code(status, proxied); k != nil {
		k.n.Inc()
		return
	}
	c.newCode(status, proxied).n.Inc()
}

func (c *cell) code(status int, proxied bool) *codeCount {
	all := c.codes.Load()
	if all == nil {
		return nil
	}
	for _, k := range *all {
		if k.status == status && k.proxied == proxied {
			return k
		}
	}
	return nil
}

func (c *cell) newCode(status int, proxied bool) *codeCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	var old []*codeCount
	if all := c.codes.Load(); all != nil {
		old = *all
	}
	if len(old) >= maxCodes {
		status = 0
	}
	if k := c.code(status, proxied); k != nil {
		return k
	}
	k := &codeCount{status: status, proxied: proxied}
	all := append(append(make([]*codeCount, 0, len(old)+1), old...), k)
	c.codes.Store(&all)
	return k
}

// latencyCounts are the histograms of a route. Of streams, whole is how long they
// lasted, and there is no upstream.
type latencyCounts struct{ kong, upstream, whole histogram }

// observe adds an exchange to the histograms.
func (c *cell) observe(x *l7.Exchange) {
	h := c.histograms()
	request, kong, proxy := x.Latencies()
	h.whole.observe(request, externalBounds)
	h.kong.observe(kong, kongBounds)
	if proxy >= 0 {
		h.upstream.observe(proxy, externalBounds)
	}
}

// observeSession adds a stream to the histograms.
func (c *cell) observeSession(s *l4.Session) {
	h := c.histograms()
	session, kong := s.Latencies()
	h.whole.observe(session, externalBounds)
	h.kong.observe(kong, kongBounds)
}

func (c *cell) histograms() *latencyCounts {
	if h := c.latencies.Load(); h != nil {
		return h
	}
	return c.newLatencies()
}

func (c *cell) newLatencies() *latencyCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.latencies.Load()
	if h == nil {
		h = new(latencyCounts)
		c.latencies.Store(h)
	}
	return h
}

// Kong's upper bounds of the buckets, in milliseconds: of the time spent in the
// gateway, and of what depends on the upstream.
var (
	kongBounds     = []int{1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000}
	externalBounds = []int{25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000}
)

// maxBounds is the length of the longest list of bounds.
const maxBounds = 17

// histogram counts durations by bounds that its user knows. The last bucket in
// use has no upper bound.
type histogram struct {
	buckets [maxBounds + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

func (h *histogram) observe(d time.Duration, bounds []int) {
	i := 0
	for i < len(bounds) && d > time.Duration(bounds[i])*time.Millisecond {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}
