package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// guarded returns a configuration whose listeners have more settings.
func guarded(origin, settings string) string {
	return fmt.Sprintf(`
node:
  listeners:
    - {name: http, address: "127.0.0.1:0", %[1]s}
    - {name: https, address: "127.0.0.1:0", serve: https, %[1]s}
`, settings) + shop(origin)
}

// dialFrom connects from an address of the loopback.
func dialFrom(t *testing.T, from string, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func addrPort(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// isServed sends a request on a connection and looks at the answer.
func isServed(t *testing.T, c net.Conn) {
	t.Helper()
	if resp, err := ask(c, bufio.NewReader(c), request); err != nil || resp.StatusCode != 200 {
		t.Errorf("answer %v, %v", resp, err)
	}
}

// metric returns the value of a line of the metrics, "" if there is none.
func metric(e *testkit.Edge, line string) string {
	w := httptest.NewRecorder()
	e.Metrics().Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for l := range strings.Lines(w.Body.String()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(l), line+" "); ok {
			return value
		}
	}
	return ""
}

const deny = `plugins: [{name: ip-restriction, config: {deny: [127.0.0.2, 203.0.113.7]}}]`

// TestListenerRefuses shows that an address is refused when it connects: it is
// told nothing, and no handshake begins.
func TestListenerRefuses(t *testing.T) {
	t.Parallel()
	origin := startOrigin(t)
	e := testkit.StartEdge(t, guarded(origin, deny))
	for _, l := range []string{"http", "https"} {
		isClosed(t, dialFrom(t, "127.0.0.2", e.At(l)))
		if n := metric(e, `bulwark_connections_refused_total{listener="`+l+`",reason="plugin"}`); n != "1" {
			t.Errorf("%s: %q refusals counted, want 1", l, n)
		}
	}
	if n := metric(e, `bulwark_terminations_total{reason="tls_handshake"}`); n != "" && n != "0" {
		t.Errorf("%s handshakes failed, want none to have begun", n)
	}
	isServed(t, dialFrom(t, "127.0.0.1", e.At("http")))
	isServed(t, tls.Client(dialFrom(t, "127.0.0.3", e.At("https")), &tls.Config{InsecureSkipVerify: true}))

	// The listeners of a reload are the same ones, with other rules.
	if err := e.Use(guarded(origin, "plugins: []")); err != nil {
		t.Fatal(err)
	}
	isServed(t, dialFrom(t, "127.0.0.2", e.At("http")))
	e.Stop()
	if lines := e.AccessLog(); len(lines) != 3 {
		t.Errorf("%d requests are logged, want 3", len(lines))
	}
}

// TestListenerRefusesToldClient shows that it is the client of the PROXY header
// who is judged, in plaintext and before TLS.
func TestListenerRefusesToldClient(t *testing.T) {
	e := testkit.StartEdge(t, guarded(startOrigin(t), deny+", proxy_protocol: [127.0.0.0/8]"))
	header := func(from, client, listener string) net.Conn {
		c := dialFrom(t, from, e.At(listener))
		if _, err := fmt.Fprintf(c, "PROXY TCP4 %s 198.51.100.9 56324 443\r\n", client); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, l := range []string{"http", "https"} {
		isClosed(t, header("127.0.0.1", "203.0.113.7", l))
		if n := metric(e, `bulwark_connections_refused_total{listener="`+l+`",reason="plugin"}`); n != "1" {
			t.Errorf("%s: %q refusals counted, want 1", l, n)
		}
	}
	// The proxy itself is on the list; whom it speaks for is not.
	isServed(t, header("127.0.0.2", "203.0.113.8", "http"))
	isServed(t, tls.Client(header("127.0.0.2", "203.0.113.8", "https"), &tls.Config{InsecureSkipVerify: true}))

	c := dialFrom(t, "127.0.0.1", e.At("https"))
	if err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("a handshake without the PROXY header succeeded")
	}
	if n := metric(e, `bulwark_connections_refused_total{listener="https",reason="proxy_header"}`); n != "1" {
		t.Errorf("%q refusals counted, want 1", n)
	}
}

// TestGoneListenerKeepsItsRules shows that what a listener has accepted just
// before a reload takes it away is not let past its plugins.
func TestGoneListenerKeepsItsRules(t *testing.T) {
	origin := startOrigin(t)
	e := testkit.StartEdge(t, guarded(origin, deny))
	if err := e.Use("node: {listeners: [{name: other, address: \"127.0.0.1:0\"}]}\n" + shop(origin)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		client string
		served bool
	}{{"127.0.0.2:1", false}, {"127.0.0.1:1", true}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		client := dial(t, ln.Addr().String())
		nc, err := ln.Accept()
		ln.Close()
		if err != nil {
			t.Fatal(err)
		}
		s, err := sock.New(nc.(*net.TCPConn))
		if err != nil {
			t.Fatal(err)
		}
		c := l4.NewConn(s, l4.NewInfo("http", netip.MustParseAddrPort(tt.client), netip.MustParseAddrPort("127.0.0.1:80")))
		served := make(chan struct{})
		go func() {
			defer close(served)
			e.ServeConn(context.Background(), c)
		}()
		_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(client)
		if got := strings.HasPrefix(string(b), "HTTP/1.1 200"); got != tt.served {
			t.Errorf("%s was served: %v, want %v", tt.client, got, tt.served)
		}
		<-served
	}
}

// TestListenerPluginErrors shows what an operator is told.
func TestListenerPluginErrors(t *testing.T) {
	listener := func(plugins string) string {
		return "node: {listeners: [{name: a, address: ':1', plugins: " + plugins + "}]}"
	}
	testkit.WantConfigError(t, listener("[{name: ip-restriction}]"), "node.listeners[0].plugins[0].config: at least one of these fields must be non-empty: 'allow', 'deny'")
	testkit.WantConfigError(t, listener("[{name: nobody}]"), "node.listeners[0].plugins[0].name: plugin 'nobody' not enabled")
}

// nameConsumer is the configuration of a kind that takes everybody for a
// consumer.
type nameConsumer struct {
	Consumer config.Ref[config.Consumer] `json:"consumer" doc:"Who."`
}

// namer names the consumer, as an authenticating plugin does.
type namer struct{ consumer *config.Consumer }

func (n *namer) Request(x *l7.Exchange) l7.Verdict {
	x.SetConsumer(n.consumer)
	return l7.Next
}

// TestListenerPluginBeforeConsumer shows that a listener's plugins stand before
// the plan of a consumer too, on every exchange.
func TestListenerPluginBeforeConsumer(t *testing.T) {
	alice := &config.Consumer{ID: config.ID{15: 1}, Username: "alice"}
	kinds := append(catalog.Catalog{plugins.Define(plugins.Spec[nameConsumer]{
		Name: "name-consumer", Scopes: plugins.Anywhere, Speaks: plugins.HTTP,
		New: func(nameConsumer, plugins.Env) (any, error) { return &namer{alice}, nil },
	})}, catalog.All()...)
	e, err := edge.New(edge.Options{Kinds: kinds, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = e.Shutdown(ctx)
	})
	own := "plugins: [{name: correlation-id, config: {header_name: X-Listener, echo_downstream: true}}]"
	src := `_format_version: "3.0"` + "\n" + strings.Replace(guarded(startOrigin(t), own), "node:", "node:\n  status: off\n  log: {access: off}", 1) + `
consumers: [{id: ` + alice.ID.String() + `, username: alice}]
plugins:
  - {name: name-consumer}
  - {name: correlation-id, consumer: alice, config: {header_name: X-Alice, echo_downstream: true}}
`
	err = e.Reload(context.Background(), func() (*config.Config, error) {
		return config.Load([]byte(src), kinds, config.Origin{})
	})
	if err != nil {
		t.Fatal(err)
	}
	at, _ := e.Addr("http")
	c := dial(t, at.String())
	r := bufio.NewReader(c)
	for range 2 { // the plan is made for the first and found by the second
		resp, err := ask(c, r, request)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("X-Listener") == "" || resp.Header.Get("X-Alice") == "" {
			t.Errorf("fields of the answer %v", resp.Header)
		}
	}
}
