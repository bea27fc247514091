package l7_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// BenchmarkRouterMatchCold is the look-up of `bulwark bench routes-15k`: 3,000
// hosts of five routes each, another route asked for each time, and as many
// requests with texts of their own however few routes there are. The difference
// between its two lines is what the routes cost that no cache holds.
//
// An op is a stretch of look-ups that is too short to be interrupted often. Its
// median, and the least, say what one look-up takes where other work disturbs.
func BenchmarkRouterMatchCold(b *testing.B) {
	for _, count := range []int{1, routes.DefaultCount} {
		b.Run(fmt.Sprintf("routes=%d", count), func(b *testing.B) {
			c := newColdRouter(b, count)
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				c.stretch(b)
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[0].Nanoseconds())/stretch, "least-ns/look-up")
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/stretch, "median-ns/look-up")
		})
	}
}

// stretch is the number of look-ups that are timed at once.
const stretch = 500

// coldRouter is a router and requests for all of its routes.
type coldRouter struct {
	router  *l7.Router
	queries []l7.Query
	at      int
}

func (c *coldRouter) stretch(b *testing.B) {
	const stride = 7919 // a prime, so that all are met
	var m l7.Match
	at := c.at
	for range stretch {
		if !c.router.Match(&c.queries[at], &m) {
			b.Fatalf("route %d is not found", at)
		}
		at = (at + stride) % len(c.queries)
	}
	c.at = at
}

// newColdRouter decodes and compiles so many routes.
func newColdRouter(b *testing.B, count int) *coldRouter {
	b.Helper()
	var file bytes.Buffer
	if err := routes.Write(&file, routes.Options{Count: count, Origin: routes.DefaultOrigin}); err != nil {
		b.Fatal(err)
	}
	cfg, err := config.Load(file.Bytes(), catalog.All(), config.Origin{})
	if err != nil {
		b.Fatal(err)
	}
	var list []*l7.Route
	for _, e := range cfg.Routes.All() {
		list = append(list, &l7.Route{Entity: e})
	}
	queries := make([]l7.Query, routes.DefaultCount)
	for i := range queries {
		n := i % count
		queries[i] = l7.Query{Method: http.MethodGet, Host: routes.HostOf(n), Path: routes.Path(n), Port: 80, Header: new(l7.Header)}
	}
	router, err := l7.NewRouter(list)
	if err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	return &coldRouter{router: router, queries: queries}
}
