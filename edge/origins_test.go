package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// farm is an edge with three nginx behind one upstream, and visitors who ask
// without a pause.
type farm struct {
	t       *testing.T
	edge    *testkit.Edge
	origins [3]*testkit.Nginx

	answers [3]atomic.Int64 // by origin
	wrong   chan error      // the first of what was no answer of an origin
	errors  atomic.Int64
	stop    atomic.Bool
	work    sync.WaitGroup
}

// visitors ask at the same time.
const visitors = 3

// config is the configuration with some health checks. What hangs is given
// up soon, so that a request waits for several origins within its client's
// patience.
func (f *farm) config(checks string) string {
	return fmt.Sprintf(`
node: {status: "127.0.0.1:0"}
services:
  - {name: shop, host: shop, retries: 5, connect_timeout: 2000, read_timeout: 400, routes: [{name: shop, paths: [/]}]}
upstreams:
  - name: shop
    targets: [{target: %q}, {target: %q}, {target: %q}]
    healthchecks: %s
`, f.origins[0].Addr, f.origins[1].Addr, f.origins[2].Addr, checks)
}

// startFarm starts everything, and waits until every origin has had visitors.
func startFarm(t *testing.T, checks string) *farm {
	t.Helper()
	f := &farm{t: t, wrong: make(chan error, 1)}
	for i := range f.origins {
		f.origins[i] = testkit.StartNginx(t)
	}
	f.edge = testkit.StartEdge(t, f.config(checks))
	for range visitors {
		f.work.Go(f.visit)
	}
	t.Cleanup(f.leave)
	f.all()
	return f
}

// leave ends the visits.
func (f *farm) leave() {
	f.stop.Store(true)
	f.work.Wait()
}

// end ends the visits and fails the test if a single request had no answer of
// an origin.
func (f *farm) end() {
	f.t.Helper()
	f.leave()
	total := int64(0)
	for i := range f.answers {
		total += f.answers[i].Load()
	}
	if n := f.errors.Load(); n > 0 {
		f.t.Errorf("%d of %d requests went wrong; the first: %v", n, n+total, <-f.wrong)
	}
	f.t.Logf("%d requests", total)
}

func (f *farm) visit() {
	for !f.stop.Load() {
		if err := f.connection(); err != nil {
			f.errors.Add(1)
			select {
			case f.wrong <- err:
			default:
			}
		}
	}
}

func (f *farm) connection() error {
	c, err := net.Dial("tcp", f.edge.At("http").String())
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range keptFor {
		if f.stop.Load() {
			return nil
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "GET /host HTTP/1.1\r\nHost: shop.test\r\n\r\n"); err != nil {
			return err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		i := f.origin(string(body))
		if resp.StatusCode != 200 || i < 0 {
			return fmt.Errorf("got status %d and %q", resp.StatusCode, body)
		}
		f.answers[i].Add(1)
	}
	return nil
}

// origin returns the number of the origin that has answered.
func (f *farm) origin(body string) int {
	for i, o := range f.origins {
		if body == o.Addr+" http" {
			return i
		}
	}
	return -1
}

// more waits until an origin has given n further answers.
func (f *farm) more(origin int, n int64) {
	f.t.Helper()
	until := f.answers[origin].Load() + n
	eventually(f.t, "traffic to "+f.origins[origin].Addr, func() bool { return f.answers[origin].Load() >= until })
}

// all waits until every origin has had traffic.
func (f *farm) all() {
	f.t.Helper()
	for i := range f.origins {
		f.more(i, 5)
	}
}

// state returns what the edge says of an origin, which is its only address.
func (f *farm) state(origin int) telemetry.AddressStatus {
	f.t.Helper()
	all := f.edge.Upstreams()
	if len(all) != 1 || len(all[0].Targets) != 3 {
		f.t.Fatalf("the edge tells of %+v", all)
	}
	for _, t := range all[0].Targets {
		if len(t.Addresses) == 1 && t.Addresses[0].Address.String() == f.origins[origin].Addr {
			return t.Addresses[0]
		}
	}
	f.t.Fatalf("the edge knows no %s: %+v", f.origins[origin].Addr, all)
	panic("not reached")
}

// becomes waits until an origin is in a state.
func (f *farm) becomes(origin int, want telemetry.Health) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%s to be %v", f.origins[origin].Addr, want), func() bool { return f.state(origin).Health == want })
}

// because fails the test unless the last change of an origin's state had the
// given reason.
func (f *farm) because(origin int, want string) {
	f.t.Helper()
	if got := f.state(origin).Reason; !strings.Contains(got, want) {
		f.t.Errorf("%s changed by %q, want a reason with %q", f.origins[origin].Addr, got, want)
	}
}

// idle fails the test if an origin has traffic, while the others have.
func (f *farm) idle(origin int) {
	f.t.Helper()
	others := func(n int64) {
		for i := range f.origins {
			if i != origin {
				f.more(i, n)
			}
		}
	}
	others(2 * visitors) // what was on its way has arrived
	before := f.answers[origin].Load()
	others(100)
	if n := f.answers[origin].Load() - before; n > 0 {
		f.t.Errorf("%s has given %d answers while it is %v", f.origins[origin].Addr, n, f.state(origin).Health)
	}
}

// only checks that the other origins are healthy.
func (f *farm) only(origin int) {
	f.t.Helper()
	for i := range f.origins {
		if i != origin && f.state(i).Health != telemetry.Healthy {
			f.t.Errorf("%s is %v as well: %s", f.origins[i].Addr, f.state(i).Health, f.state(i).Reason)
		}
	}
}

func TestIntegrationKilledOriginPassive(t *testing.T) {
	f := startFarm(t, "{passive: {unhealthy: {tcp_failures: 2}}}")
	f.origins[1].Kill()
	f.becomes(1, telemetry.Unhealthy)
	f.because(1, "traffic: 2 connection failures")
	f.idle(1)
	f.only(1)

	// Nothing but a change of the checks brings it back.
	f.origins[1].Start()
	f.idle(1)
	if err := f.edge.Use(f.config("{passive: {unhealthy: {tcp_failures: 2}}}")); err != nil {
		t.Fatal(err)
	}
	f.idle(1)
	if err := f.edge.Use(f.config("{passive: {unhealthy: {tcp_failures: 3}}}")); err != nil {
		t.Fatal(err)
	}
	f.becomes(1, telemetry.Healthy)
	f.all()
	f.end()
}

// activeChecks are the checks of the tests that probe.
const activeChecks = `{active: {http_path: /health, timeout: %v, healthy: {interval: 0.05, successes: 2}, unhealthy: {interval: 0.05, http_failures: 2, tcp_failures: 2, timeouts: 2}}}`

func TestIntegrationKilledOriginActive(t *testing.T) {
	f := startFarm(t, fmt.Sprintf(activeChecks, 2))
	for range 2 {
		f.origins[2].Kill()
		f.becomes(2, telemetry.Unhealthy)
		f.because(2, "probes: 2 connection failures")
		f.idle(2)
		f.only(2)
		f.origins[2].Start()
		f.becomes(2, telemetry.Healthy)
		f.because(2, "probes: 2 answers, the last of status 200")
		f.all()
	}
	f.end()
}

// TestIntegrationSickOrigin has an origin that serves well and says that it is
// not.
func TestIntegrationSickOrigin(t *testing.T) {
	f := startFarm(t, fmt.Sprintf(activeChecks, 2))
	f.origins[0].WriteFile("sick", nil)
	f.becomes(0, telemetry.Unhealthy)
	f.because(0, "probes: 2 answers, the last of status 500")
	f.idle(0)
	f.only(0)
	f.statusOf(0, "UNHEALTHY")
	if err := os.Remove(filepath.Join(f.origins[0].Root, "sick")); err != nil {
		t.Fatal(err)
	}
	f.becomes(0, telemetry.Healthy)
	f.all()
	f.statusOf(0, "HEALTHY")
	f.end()
}

// statusOf looks for an origin's state in all that the status listener tells.
func (f *farm) statusOf(origin int, state string) {
	f.t.Helper()
	base, addr := "http://"+f.edge.StatusAddr().String(), f.origins[origin].Addr
	ip, port, _ := net.SplitHostPort(addr)
	for path, want := range map[string]string{
		"/status":                `{"address":"` + addr + `","weight":100,"health":"` + state + `"`,
		"/upstreams/shop/health": `"addresses":[{"ip":"` + ip + `","port":` + port + `,"weight":100,"health":"` + state + `"}]`,
		"/metrics":               `bulwark_upstream_target_health{address="` + addr + `",state="` + strings.ToLower(state) + `",target="` + addr + `",upstream="shop"} 1`,
	} {
		if got := testkit.Curl(f.t, base+path); !strings.Contains(got, want) {
			f.t.Errorf("%s lacks %s:\n%s", path, want, got)
		}
	}
}

// TestIntegrationHangingOrigin has an origin that accepts and says nothing.
func TestIntegrationHangingOrigin(t *testing.T) {
	f := startFarm(t, fmt.Sprintf(activeChecks, 0.3))
	f.origins[1].Freeze()
	f.becomes(1, telemetry.Unhealthy)
	f.because(1, "probes: 2 timeouts")
	f.idle(1)
	f.origins[1].Thaw()
	f.becomes(1, telemetry.Healthy)
	f.all()
	f.end()
}
