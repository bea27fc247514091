package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// countingOrigin answers as startOrigin's does, on an address of its own, and
// counts.
type countingOrigin struct {
	at   netip.AddrPort
	seen atomic.Int64
}

// startOrigins starts an origin on each of 127.0.0.1, 127.0.0.2 and so on, all on
// one port.
func startOrigins(t *testing.T, n int) []*countingOrigin {
	t.Helper()
	for range 20 {
		if list := tryOrigins(t, n); list != nil {
			return list
		}
	}
	t.Fatal("no port is free on all addresses")
	return nil
}

func tryOrigins(t *testing.T, n int) []*countingOrigin {
	t.Helper()
	var list []*countingOrigin
	port := "0"
	for i := range n {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%s", i+1, port))
		if err != nil {
			return nil
		}
		o := &countingOrigin{at: ln.Addr().(*net.TCPAddr).AddrPort()}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			o.seen.Add(1)
			_, _ = io.WriteString(w, "ok")
		})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = srv.Serve(ln)
		}()
		t.Cleanup(func() {
			srv.Close()
			<-done
		})
		list = append(list, o)
		_, port, _ = net.SplitHostPort(ln.Addr().String())
	}
	return list
}

// only waits until one origin has all the traffic.
func only(t *testing.T, l *load, list []*countingOrigin, one int) {
	t.Helper()
	eventually(t, fmt.Sprintf("all traffic to go to origin %d", one), func() bool {
		before := make([]int64, len(list))
		for i := range list {
			before[i] = list[i].seen.Load()
		}
		l.more(t, 50)
		for i := range list {
			if (list[i].seen.Load() > before[i]) != (i == one) {
				return false
			}
		}
		return true
	})
}

// namedShop is a configuration with one service at a name.
func namedShop(dns, url string) string {
	return fmt.Sprintf(`
node:
  dns: {%s, resolv_conf: off, hosts: off, min_ttl: 100ms}
services:
  - name: shop
    url: %s
    routes: [{name: shop, paths: [/]}]
`, dns, url)
}

// TestIntegrationDNSChange changes a name's address under load. Traffic follows
// without a reload, and no request is lost.
func TestIntegrationDNSChange(t *testing.T) {
	t.Parallel()
	origins := startOrigins(t, 3)
	hosts := func(list ...int) string {
		var b strings.Builder
		for _, i := range list {
			fmt.Fprintf(&b, "%s shop.test\n", origins[i].at.Addr())
		}
		return b.String()
	}
	d := testkit.StartDnsmasq(t, hosts(0))
	e := testkit.StartEdge(t, namedShop(fmt.Sprintf("servers: [%q]", d.Addr), fmt.Sprintf("http://shop.test:%d", origins[0].at.Port())))
	snapshot := e.Current()
	l := startLoad(e.At("http").String(), 3, 1)
	only(t, l, origins, 0)
	for _, i := range []int{1, 2, 0, 1} {
		d.Use(hosts(i))
		only(t, l, origins, i)
	}
	d.Use(hosts(0, 1, 2))
	eventually(t, "all origins to have traffic", func() bool {
		before := [3]int64{origins[0].seen.Load(), origins[1].seen.Load(), origins[2].seen.Load()}
		l.more(t, 60)
		return origins[0].seen.Load() > before[0] && origins[1].seen.Load() > before[1] && origins[2].seen.Load() > before[2]
	})
	l.end(t)
	if e.Current() != snapshot {
		t.Error("there was a reload")
	}
	t.Logf("%d requests, none lost", l.done.Load())
}

// TestIntegrationDNSOutage stops the name server under load: what it said last
// counts until it is back, with other SRV records.
func TestIntegrationDNSOutage(t *testing.T) {
	t.Parallel()
	origins := startOrigins(t, 2)
	srv := func(i int) string {
		return fmt.Sprintf("--srv-host=_web._tcp.test,o%d.test,%d,1,10", i, origins[i].at.Port())
	}
	hosts := fmt.Sprintf("%s o0.test\n%s o1.test\n", origins[0].at.Addr(), origins[1].at.Addr())
	d := testkit.StartDnsmasq(t, hosts, srv(0))
	// The zone has its own server; the other one is nowhere.
	e := testkit.StartEdge(t, namedShop(fmt.Sprintf("servers: ['127.0.0.1:1'], zones: {test: [%q]}", d.Addr), "http://_web._tcp.test:1"))
	l := startLoad(e.At("http").String(), 3, 1)
	only(t, l, origins, 0)
	d.Stop()
	eventually(t, "the outage to be noticed", func() bool { return strings.Contains(e.Log.String(), "looking up a name") })
	only(t, l, origins, 0)
	d.Start(srv(1))
	only(t, l, origins, 1)
	l.end(t)
	if !strings.Contains(e.Log.String(), "a name resolves again") {
		t.Error("the end of the outage is not logged")
	}
}

// TestConsulByReload gives an edge that knows no such name a Consul agent.
func TestConsulByReload(t *testing.T) {
	t.Parallel()
	origins := startOrigins(t, 2)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/health/service/web" || r.Header.Get("X-Consul-Token") != "secret" {
			http.NotFound(w, r)
			return
		}
		if r.URL.Query().Get("index") != "" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprintf(w, `[{"Service":{"Address":%q,"Port":%d}}]`, origins[1].at.Addr(), origins[1].at.Port())
	}))
	t.Cleanup(agent.Close)
	const before, after = "node:\n", "\nservices:\n  - name: web\n    url: http://web.service.consul\n    routes: [{name: web, paths: [/]}]\n"
	e := testkit.StartEdge(t, before+"  dns: {resolv_conf: off, hosts: off, servers: ['127.0.0.1:1']}"+after)
	c := dial(t, e.At("http").String())
	r := bufio.NewReader(c)
	if resp, err := ask(c, r, request); err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without Consul: %v, %v; want 503", resp, err)
	}
	if err := e.Use(before + fmt.Sprintf("  consul: {address: %q, token: secret}", agent.URL) + after); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Consul to be asked", func() bool {
		_, err := ask(c, r, request)
		return err == nil
	})
	if n := origins[1].seen.Load(); n == 0 {
		t.Error("the request went elsewhere")
	}
}

// TestIntegrationDNSName shows which name a target has that stands for SRV
// records.
func TestIntegrationDNSName(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
	}))
	t.Cleanup(origin.Close)
	_, port, err := net.SplitHostPort(origin.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d := testkit.StartDnsmasq(t, "127.0.0.1 o.test\n", "--srv-host=_web._tcp.test,o.test,"+port+",1,10")
	for use, want := range map[bool]string{false: "_web._tcp.test:" + port, true: "o.test:" + port} {
		e := testkit.StartEdge(t, fmt.Sprintf(`
node:
  dns: {servers: [%q], resolv_conf: off, hosts: off}
upstreams:
  - {name: web, use_srv_name: %v, targets: [{target: "_web._tcp.test:1"}]}
services:
  - {name: web, host: web, routes: [{name: web, paths: [/]}]}
`, d.Addr, use))
		if got := testkit.Curl(t, "http://"+e.At("http").String()+"/"); got != want {
			t.Errorf("use_srv_name %v: the Host is %q, want %q", use, got, want)
		}
	}
}
