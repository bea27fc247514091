package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/upstream"
)

// agent is a Consul agent: it answers about the health of services, and holds a
// question back until something changes or its time is over.
type agent struct {
	mu       sync.Mutex
	services map[string][]string // by "name", "tag.name" or either with "@dc": address:port or address:port*weight
	index    uint64
	changed  chan struct{} // closed and made anew with each change
	fail     int           // status instead of an answer
	raw      string        // body instead of an answer
	noIndex  bool
	eager    bool // never holds a question back
	asked    []url.Values
	paths    []string
	tokens   []string
	holding  int
}

func newAgent() *agent {
	return &agent{services: make(map[string][]string), index: 10, changed: make(chan struct{})}
}

// set changes the instances of a service.
func (a *agent) set(service string, list ...string) {
	a.change(func() { a.services[service] = list })
}

// change changes anything.
func (a *agent) change(what func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what()
	a.index++
	close(a.changed)
	a.changed = make(chan struct{})
}

// took returns how many questions came since the last call.
func (a *agent) took() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.asked)
	a.asked = nil
	return n
}

// held returns how many questions are held back.
func (a *agent) held() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.holding
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/health/service/")
	q := r.URL.Query()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, q)
	a.paths = append(a.paths, r.URL.Path)
	a.tokens = append(a.tokens, r.Header.Get("X-Consul-Token"))
	if !ok || q.Get("passing") != "1" {
		http.NotFound(w, r)
		return
	}
	// As with Consul, an index that was never reached is waited for, too.
	if index, err := strconv.ParseUint(q.Get("index"), 10, 64); err == nil && index >= a.index && !a.eager {
		wait, err := time.ParseDuration(q.Get("wait"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		changed := a.changed
		a.holding++
		a.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-r.Context().Done():
		}
		timer.Stop()
		a.mu.Lock()
		a.holding--
	}
	if a.fail != 0 {
		http.Error(w, "rpc error: No cluster leader", a.fail)
		return
	}
	if !a.noIndex {
		w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
	}
	if a.raw != "" {
		_, _ = w.Write([]byte(a.raw))
		return
	}
	if tag := q.Get("tag"); tag != "" {
		name = tag + "." + name
	}
	if dc := q.Get("dc"); dc != "" {
		name += "@" + dc
	}
	_ = json.NewEncoder(w).Encode(elements(a.services[name]))
}

// elements writes instances as Consul does; one that begins with node/ is
// registered without an address of its own.
func elements(list []string) []any {
	out := []any{}
	for _, s := range list {
		at, weight, _ := strings.Cut(s, "*")
		passing, err := strconv.Atoi(weight)
		if err != nil {
			passing = 1
		}
		at, onNode := strings.CutPrefix(at, "node/")
		i := strings.LastIndexByte(at, ':')
		host, node := strings.Trim(at[:i], "[]"), "198.51.100.1"
		if onNode {
			host, node = "", host
		}
		port, _ := strconv.Atoi(at[i+1:])
		out = append(out, map[string]any{
			"Node":    map[string]any{"Node": "n", "Address": node, "Meta": map[string]string{"a": "b"}},
			"Service": map[string]any{"ID": s, "Address": host, "Port": port, "Weights": map[string]int{"Passing": passing, "Warning": 1}},
			"Checks":  []any{},
		})
	}
	return out
}

// RoundTrip serves a question in memory.
func (a *agent) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

var _ http.RoundTripper = (*agent)(nil)

// fakeDNS is the next resolver.
type fakeDNS map[string]string

var _ upstream.Resolver = fakeDNS(nil)

func (f fakeDNS) Resolve(_ context.Context, name string) (upstream.Answer, error) {
	text, ok := f[name]
	if !ok {
		return upstream.Answer{}, fmt.Errorf("%w: %q is not known", upstream.ErrName, name)
	}
	a := upstream.Answer{Expires: 1 << 62}
	for s := range strings.FieldsSeq(text) {
		a.Records = append(a.Records, upstream.Record{Addr: netip.MustParseAddr(s), Weight: 1})
	}
	return a, nil
}

// settings returns those of an agent, with changes.
func settings(changes ...func(*Settings)) *Settings {
	s := &Settings{Address: &url.URL{Scheme: "http", Host: "consul.test:8500"}, Wait: time.Minute}
	for _, change := range changes {
		change(s)
	}
	return s
}

// start returns a resolver of an agent in memory, closed with the test.
func start(t *testing.T, a *agent, next upstream.Resolver, s *Settings) *Resolver {
	t.Helper()
	r := New(next, slog.New(slog.DiscardHandler))
	t.Cleanup(r.Close)
	r.transport = func(*Settings) http.RoundTripper { return a }
	r.Configure(s)
	return r
}

// resolve returns the records as text, or the error's.
func resolve(t *testing.T, r *Resolver, name string) string {
	t.Helper()
	a, err := r.Resolve(t.Context(), name)
	if err != nil {
		if !errors.Is(err, upstream.ErrName) {
			t.Errorf("resolving %q: %v, want ErrName", name, err)
		}
		return "error"
	}
	var list []string
	for _, rec := range a.Records {
		s := rec.Addr.String()
		if rec.Port != 0 {
			s = netip.AddrPortFrom(rec.Addr, rec.Port).String()
		}
		if rec.Weight != 1 {
			s += "*" + strconv.Itoa(rec.Weight)
		}
		list = append(list, s)
	}
	if !slices.IsSorted(list) {
		t.Errorf("the records %v are not in order", list)
	}
	return strings.Join(list, " ")
}
