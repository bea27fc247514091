package edge

import (
	"bytes"
	"testing"

	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/l7"
)

// TestLookupAllocations holds the look-ups of an exchange against thousands of
// routes: none allocates.
func TestLookupAllocations(t *testing.T) {
	const count = 3000
	var b bytes.Buffer
	if err := routes.Write(&b, routes.Options{Count: count, Origin: "127.0.0.1:9", Node: "node: {status: off, log: {access: off}}\n"}); err != nil {
		t.Fatal(err)
	}
	b.WriteString("- {name: ip-restriction, consumer: c, config: {deny: [192.0.2.1]}}\nconsumers: [{username: c}, {username: d}]\n")
	s := compileAll(t, loadText(t, b.String()), newEnv(t))
	queries := make([]l7.Query, count)
	for n := range queries {
		queries[n] = l7.Query{Method: "GET", Host: routes.HostOf(n), Path: routes.Path(n), Port: 80, Header: new(l7.Header)}
	}
	limited, _ := s.Config.Consumers.Lookup("c")
	free, _ := s.Config.Consumers.Lookup("d")
	site := s.site("http")
	at := 0
	var m l7.Match
	next := func() *l7.Route {
		at = (at + 7) % count
		if !s.router.Match(&queries[at], &m) {
			t.Fatalf("no route for %s%s", queries[at].Host, queries[at].Path)
		}
		return m.Route
	}
	tests := []struct {
		name string
		do   func()
	}{
		{"the listener's part", func() { site = s.site("https") }},
		{"the route", func() { next() }},
		{"the plan of a consumer with plugins", func() { site.ConsumerPlan(next(), limited) }},
		{"the plan of another consumer", func() { site.ConsumerPlan(next(), free) }},
		{"the plan of no consumer", func() { site.ConsumerPlan(next(), nil) }},
		{"the log's text of the route", func() { next().LogJSON() }},
		{"the log's text of the service", func() { next().Service.LogJSON() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range count { // plans and texts are made when they are first needed
				tt.do()
			}
			if n := testing.AllocsPerRun(count, tt.do); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
}
