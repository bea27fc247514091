package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
)

// stormText returns variant v of a file with stormRoutes routes. Each differs from
// the others by a changed, an added and a removed route, a changed, an added
// and a disabled service, and by plugins of a route, of a service and of all;
// what the load asks for is the same in all.
func stormText(t testing.TB, origin string, v int) string {
	t.Helper()
	var b bytes.Buffer
	node := "node:\n  status: off\n  log: {access: off}\n  listeners: [{name: http, address: \"127.0.0.1:0\"}]\n"
	if err := routes.Write(&b, routes.Options{Count: stormRoutes, Origin: origin, Shared: true, Node: node}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	swap := func(old, with string) {
		if strings.Count(text, old) != 1 {
			t.Fatalf("the file has %q %d times", old, strings.Count(text, old))
		}
		text = strings.Replace(text, old, with, 1)
	}
	first := 1000 * (v + 1) // its routes and, divided by five, services are changed
	route := func(n int) string { return fmt.Sprintf("  - name: route-%d\n    hosts: [%s]\n", n, routes.HostOf(n)) }
	swap(route(first), route(first)+fmt.Sprintf("    headers: {x-variant: [\"%d\"]}\n", v))
	swap(route(first+10), fmt.Sprintf("  - {name: added-%d, hosts: [%s], paths: [/added]}\n", v, routes.HostOf(first+10))+route(first+10))
	swap(route(first+20), fmt.Sprintf("  - name: route-%d\n    hosts: [removed.example.com]\n", first+20))
	service := func(n int) string { return fmt.Sprintf("- name: service-%d\n", n) }
	swap(service(first/5+6), service(first/5+6)+"  read_timeout: 1234\n")
	swap(service(first/5+8), service(first/5+8)+"  enabled: false\n")
	swap(service(first/5+10), fmt.Sprintf("- name: new-%d\n  host: 127.0.0.1\n  routes: [{name: new-%d, hosts: [new.example.com], paths: [/v%d], plugins: [{name: request-termination, config: {status_code: 200, body: ok}}]}]\n", v, v, v)+service(first/5+10))
	swap("{header_name: X-Request-Id, generator: uuid}", fmt.Sprintf("{header_name: X-Variant-%d, generator: uuid, echo_downstream: true}", v))
	return text
}

// stormLoad are requests that every variant answers alike, spread over the
// services.
func stormLoad(end string) []string {
	var heads []string
	for n := 0; n < stormRoutes; n += 515 { // the first route of services that no variant changes
		heads = append(heads, stormHead(n, routes.Path(n), end))
	}
	return heads
}

func stormHead(route int, path, end string) string {
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, routes.HostOf(route), end)
}

// stormClients starts clients that together ask 4,000 times a second, so that
// some hundred requests fall into every change.
func stormClients(addr string) *load {
	l := &load{failed: make(chan error, 1), every: time.Millisecond}
	l.start(addr, 3, keptFor, stormLoad("")...)
	l.start(addr, 1, 1, stormLoad("Connection: close\r\n")...)
	return l
}

// stormClient asks one question after another on a kept connection.
type stormClient struct {
	t    *testing.T
	addr string
	c    interface{ Close() error }
	ask  func(head string) (*http.Response, error)
	left int
}

// get asks, on a new connection now and then.
func (s *stormClient) get(head string) (*http.Response, error) {
	if s.left == 0 {
		if s.c != nil {
			s.c.Close()
		}
		c := dial(s.t, s.addr)
		r := bufio.NewReader(c)
		s.c, s.left = c, keptFor
		s.ask = func(head string) (*http.Response, error) {
			_ = c.SetDeadline(time.Now().Add(patience))
			return ask(c, r, head)
		}
	}
	s.left--
	return s.ask(head)
}

// check checks that variant v serves, with all that distinguishes it, and none
// of variant old.
func (s *stormClient) check(v, old int) {
	s.t.Helper()
	at := func(v, n int) int { return 1000*(v+1) + n }
	served := func(what, head string, want bool) *http.Response {
		s.t.Helper()
		resp, err := s.get(head)
		if resp == nil {
			s.t.Fatalf("variant %d after %d: %s: %v", v, old, what, err)
		}
		if (err == nil) != want || err != nil && resp.StatusCode != http.StatusNotFound {
			s.t.Errorf("variant %d after %d: %s: status %d, want served %t", v, old, what, resp.StatusCode, want)
		}
		return resp
	}
	resp := served("the first route", stormHead(0, routes.Path(0), ""), true)
	if resp.Header.Get(fmt.Sprintf("X-Variant-%d", v)) == "" || resp.Header.Get(fmt.Sprintf("X-Variant-%d", old)) != "" {
		s.t.Errorf("variant %d after %d: the global plugin's fields are %v", v, old, resp.Header)
	}
	for _, of := range []int{v, old} {
		is := of == v
		served("a changed route", stormHead(at(of, 0), routes.Path(at(of, 0)), ""), !is)
		served("a changed route with its header", stormHead(at(of, 0), routes.Path(at(of, 0)), fmt.Sprintf("X-Variant: %d\r\n", of)), true)
		served("an added route", stormHead(at(of, 10), "/added", ""), is)
		served("a removed route", stormHead(at(of, 20), routes.Path(at(of, 20)), ""), !is)
		served("a changed service", stormHead(at(of, 30), routes.Path(at(of, 30)), ""), true)
		served("a disabled service", stormHead(at(of, 40), routes.Path(at(of, 40)), ""), !is)
		served("an added service", fmt.Sprintf("GET /v%d HTTP/1.1\r\nHost: new.example.com\r\n\r\n", of), is)
	}
}

// heapTolerance is how much more memory may be in use after a storm than
// before: what pools and the runtime's own tables keep. A snapshot's router
// alone has several times as much.
const heapTolerance = 2 << 20

// inUse returns the bytes of the heap that are reachable.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what pools hold goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestReloadStormRoutes changes a configuration of many routes under load, by
// Apply and then by the file: no request is lost, every change shows with the
// next request, and memory and goroutines are what they were.
func TestReloadStormRoutes(t *testing.T) {
	before := testkit.Goroutines()
	t.Run("storm", func(t *testing.T) {
		origin := startOrigin(t)
		e := testkit.StartEdge(t, "node: {log: {access: off}}")
		stormApply(t, e, stormConfigs(t, origin))
		stormFile(t, e, origin)
	})
	if left := testkit.Leaked(before); len(left) > 0 {
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	}
}

// stormConfigs returns the variants, which share what is the same in them.
func stormConfigs(t *testing.T, origin string) []*config.Config {
	t.Helper()
	all := make([]*config.Config, stormVariants)
	errs := make([]error, stormVariants)
	kinds := catalog.All()
	var work sync.WaitGroup
	for v := range all {
		text := []byte(stormText(t, origin, v))
		work.Go(func() { all[v], errs[v] = config.Load(text, kinds, config.Origin{}) })
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for v := 1; v < len(all); v++ {
		all[v], _ = all[v].Adopt(all[0])
	}
	return all
}

// stormApply goes from variant to variant by Compile and Apply.
func stormApply(t *testing.T, e *testkit.Edge, all []*config.Config) {
	var took []time.Duration
	apply := func(v int) {
		t.Helper()
		began := time.Now()
		prev := e.Current()
		cfg, changed := all[v].Adopt(prev.Config)
		s, err := edge.Compile(cfg, changed, prev, e.Env())
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	apply(0)
	addr := e.At("http").String()
	l := stormClients(addr)
	l.more(t, 1000)
	client := &stormClient{t: t, addr: addr}
	random := rand.New(rand.NewPCG(1, stormRoutes))
	heap, goroutines := inUse(), runtime.NumGoroutine()
	at := 0
	for range stormChanges {
		next := (at + 1 + random.IntN(stormVariants-1)) % stormVariants
		apply(next)
		client.check(next, at)
		l.more(t, 10)
		at = next
		if t.Failed() {
			break
		}
	}
	if at != 0 {
		apply(0)
		client.check(0, at)
	}
	l.more(t, 1000)
	client.c.Close()
	var left int64
	eventually(t, "memory and goroutines to be what they were", func() bool {
		left = inUse() - heap
		return left < heapTolerance && runtime.NumGoroutine() <= goroutines
	})
	runtime.KeepAlive(all)
	l.end(t)
	slices.Sort(took)
	t.Logf("%d requests over %d changes, which took %v (median) and %v at most; the heap of %d KB grew by %d KB",
		l.done.Load(), len(took), took[len(took)/2], took[len(took)-1], heap>>10, left>>10)
}

// stormFile goes from variant to variant by renaming files into place.
func stormFile(t *testing.T, e *testkit.Edge, origin string) {
	var texts []string
	for v := range 2 {
		texts = append(texts, stormText(t, origin, v))
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "kong.yml")
	write := func(v int) {
		t.Helper()
		next := filepath.Join(dir, "next.yml")
		if err := os.WriteFile(next, []byte(texts[v]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	store, err := file.New(path, catalog.All(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := e.Reload(t.Context(), store.Load); err != nil {
		t.Fatal(err)
	}
	// A busy machine under the race detector reads the file for many seconds.
	slow := max(patience, 10*time.Since(began))
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() {
		watching <- store.Watch(ctx, func() {
			if err := e.Reload(ctx, store.Load); err != nil {
				t.Errorf("reloading: %v", err)
			}
		})
	}()
	addr := e.At("http").String()
	l := stormClients(addr)
	l.more(t, 1000)
	client := &stormClient{t: t, addr: addr}
	serving := e.Current().Config.Hash
	heap := inUse()
	for i := range stormFiles {
		v := (i + 1) % 2
		write(v)
		within(t, slow, fmt.Sprintf("file %d to serve", i), func() bool { return e.Current().Config.Hash != serving })
		serving = e.Current().Config.Hash
		client.check(v, 1-v)
		l.more(t, 10)
		if t.Failed() {
			break
		}
	}
	cancel()
	if err := <-watching; err != nil {
		t.Errorf("watching: %v", err)
	}
	client.c.Close()
	var left int64
	eventually(t, "memory to be what it was", func() bool {
		left = inUse() - heap
		return left < heapTolerance
	})
	runtime.KeepAlive(texts)
	l.end(t)
	t.Logf("%d requests over %d files, each waited for %v at most; the heap of %d KB grew by %d KB", l.done.Load(), stormFiles, slow, heap>>10, left>>10)
}
