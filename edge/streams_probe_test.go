package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// TestIntegrationProbesByDatagram balances questions over two DNS servers, one of
// which is stopped and started, and frozen and thawed: while it gives no answers
// the other one has them all.
func TestIntegrationProbesByDatagram(t *testing.T) {
	first := testkit.StartDnsmasq(t, "192.0.2.1 here.test\n")
	second := testkit.StartDnsmasq(t, "192.0.2.2 here.test\n")
	port := testkit.LastingAddr(t)
	// The answer of dnsmasq to a question for its own names is authoritative.
	e := testkit.StartEdge(t, fmt.Sprintf(`
node:
  listeners:
    - {name: dns, address: %q, serve: udp, answers: 1}
upstreams:
  - name: names
    targets: [{target: %q}, {target: %q}]
    healthchecks:
      active:
        type: udp
        udp_send: "beef 0100 0001 0000 0000 0000 04 68657265 04 74657374 00 0001 0001" # here.test A
        udp_expect: "beef 8580"
        timeout: 0.3
        healthy: {interval: 0.03, successes: 2}
        unhealthy: {interval: 0.03, tcp_failures: 2, timeouts: 2}
services:
  - name: names
    url: udp://names:53
    read_timeout: 5000
    routes: [{name: names, protocols: [udp], destinations: [{port: %s}]}]
`, port, first.Addr, second.Addr, portOf(t, port)))

	ask := func() string {
		got, err := run(t, "dig", "@127.0.0.1", "-p", portOf(t, port), "+short", "+tries=1", "+timeout=5", "here.test", "A")
		if err != nil {
			t.Errorf("dig: %v\n%s", err, got)
		}
		return got
	}
	both := func() {
		t.Helper()
		seen := make(map[string]bool)
		eventually(t, "answers of both servers", func() bool { seen[ask()] = true; return seen["192.0.2.1"] && seen["192.0.2.2"] })
	}
	state := func(state telemetry.Health, reason string) {
		t.Helper()
		eventually(t, string(state)+" by "+reason, func() bool {
			for _, target := range e.Upstreams()[0].Targets {
				if a := target.Addresses[0]; a.Address.String() == first.Addr && a.Health == state && strings.HasPrefix(a.Reason, reason) {
					return true
				}
			}
			return false
		})
	}
	elsewhere := func() {
		t.Helper()
		for range 6 {
			if got := ask(); got != "192.0.2.2" {
				t.Errorf("got %q, want the answer of the other server", got)
			}
		}
	}

	both()
	first.Stop()
	state(telemetry.Unhealthy, "probes: 2 connection failures")
	elsewhere()
	first.Start()
	state(telemetry.Healthy, "probes: 2 answers")
	both()
	first.Freeze()
	state(telemetry.Unhealthy, "probes: 2 timeouts")
	elsewhere()
	first.Thaw()
	state(telemetry.Healthy, "probes: 2 answers")
	both()
	if log := e.Log.String(); !strings.Contains(log, `msg="target became unhealthy" upstream=names`) || !strings.Contains(log, "connection refused") {
		t.Errorf("the log does not tell why:\n%s", log)
	}
}
