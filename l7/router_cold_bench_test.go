package l7_test

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"testing"

	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// BenchmarkRouterMatchCold is the look-up of `bulwark bench routes-15k`: 3,000
// hosts of five routes each, another route asked for each time, and as many
// requests with texts of their own however few routes there are. The difference
// between its two lines is what the routes cost that no cache holds.
func BenchmarkRouterMatchCold(b *testing.B) {
	for _, count := range []int{1, routes.DefaultCount} {
		b.Run(fmt.Sprintf("routes=%d", count), func(b *testing.B) {
			router, queries := coldRouter(b, count)
			const stride = 7919 // a prime, so that all are met
			var m l7.Match
			at := 0
			b.ReportAllocs()
			for b.Loop() {
				if !router.Match(&queries[at], &m) {
					b.Fatalf("route %d is not found", at)
				}
				at = (at + stride) % len(queries)
			}
		})
	}
}

// coldRouter decodes and compiles count routes, and returns the requests.
func coldRouter(b *testing.B, count int) (*l7.Router, []l7.Query) {
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
	return router, queries
}
