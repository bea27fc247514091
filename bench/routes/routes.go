// Package routes writes large declarative files, to measure with: the same
// options always give the same bytes. What it writes is valid for Kong too.
package routes

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
)

// Defaults of Options, and bounds.
const (
	DefaultCount  = 15000
	DefaultOrigin = "127.0.0.1:9000"

	// PerService is the number of routes of a service.
	PerService = 5

	maxCount = 1_000_000
)

// Options says what is written.
type Options struct {
	// Count is the number of routes. Five belong to a service.
	Count int
	// Origin is the address and port of the first service, which real traffic
	// can be sent to.
	Origin string
	// Shared lets every service be at Origin. Otherwise each of the others has
	// an address of its own in 127.0.0.0/8, where nobody answers.
	Shared bool
	// Base is the path of the services; "" means "/base".
	Base string
	// Node, if set, is written at the top of the file: the key "node" as YAML.
	Node string
	// Extra, if set, is a path of one more route of the first service.
	Extra string
}

// Host returns the host of the routes of a service.
func Host(service int) string { return fmt.Sprintf("h%d.example.com", service) }

// Path returns a path that the given route matches, by its number in the file.
func Path(route int) string { return fmt.Sprintf("/team-%d/r%d", route%17, route%PerService) }

// HostOf returns the host of a route, by its number in the file.
func HostOf(route int) string { return Host(route / PerService) }

// Write writes the file.
func Write(w io.Writer, o Options) error {
	if o.Count < 1 || o.Count > maxCount {
		return fmt.Errorf("the number of routes is %d; want 1 to %d", o.Count, maxCount)
	}
	if o.Origin == "" {
		return errors.New("an origin is needed, such as " + DefaultOrigin)
	}
	o.Base = cmp.Or(o.Base, "/base")
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "_format_version: \"3.0\"\n%s", o.Node)
	services := (o.Count + PerService - 1) / PerService
	fmt.Fprint(b, "services:\n")
	for i := range services {
		o.service(b, i)
	}
	o.upstreams(b, services)
	fmt.Fprint(b, "plugins:\n- name: correlation-id\n  config: {header_name: X-Request-Id, generator: uuid}\n")
	return b.Flush()
}

// Every how many services something is written: numbers without a common
// divisor, so that all mixtures occur.
const (
	everyUpstream    = 29 // the service stands for an upstream of two targets
	everyRestriction = 7  // an ip-restriction on the service
	everyCorrelation = 11 // a correlation-id on its first route
)

func (o *Options) service(b *bufio.Writer, i int) {
	fmt.Fprintf(b, "- name: service-%d\n  url: http://%s%s\n  connect_timeout: 2000\n  tags: [team-%d, generated]\n", i, o.server(i), o.Base, i%17)
	if i%everyRestriction == everyRestriction-1 {
		fmt.Fprintf(b, "  plugins:\n  - name: ip-restriction\n    config: {deny: [192.0.2.%d, 198.51.100.0/24]}\n", i%250)
	}
	fmt.Fprint(b, "  routes:\n")
	for n := i * PerService; n < min(o.Count, (i+1)*PerService); n++ {
		o.route(b, n)
	}
	if i == 0 && o.Extra != "" {
		fmt.Fprintf(b, "  - name: extra\n    hosts: [%s]\n    paths: [%s]\n", Host(0), o.Extra)
	}
}

// server returns the host and port of a service's URL.
func (o *Options) server(i int) string {
	switch {
	case i == 0 || o.Shared:
		return o.Origin
	case i%everyUpstream == 0:
		return fmt.Sprintf("upstream-%d.internal", i)
	}
	return address(i) + ":8080"
}

// address returns an address of a server's own.
func address(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+i/62500, i/250%250, 1+i%250) }

func (o *Options) route(b *bufio.Writer, n int) {
	fmt.Fprintf(b, "  - name: route-%d\n    hosts: [%s]\n    paths:\n    - %s\n    - /v2%s\n", n, HostOf(n), Path(n), Path(n))
	switch n % PerService {
	case 1:
		fmt.Fprint(b, "    methods: [GET, POST]\n")
	case 2:
		fmt.Fprint(b, "    strip_path: false\n    preserve_host: true\n")
	case 3:
		fmt.Fprintf(b, "    - ~/items/[0-9]+/r%d$\n    tags: [items]\n", n%PerService)
	}
	if n%(everyCorrelation*PerService) == PerService {
		fmt.Fprintf(b, "    plugins:\n    - name: correlation-id\n      config: {header_name: X-Route-Id, generator: \"uuid#counter\"}\n")
	}
}

func (o *Options) upstreams(b *bufio.Writer, services int) {
	if o.Shared || services <= everyUpstream {
		return
	}
	fmt.Fprint(b, "upstreams:\n")
	for i := everyUpstream; i < services; i += everyUpstream {
		fmt.Fprintf(b, "- name: upstream-%d.internal\n  targets:\n  - {target: \"%s:8080\", weight: 100}\n  - {target: \"%s:8081\", weight: 50}\n", i, address(i), address(i))
	}
}
