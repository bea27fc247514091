package stream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/tls/certs"
)

// h3 is an HTTP/3 server that says its name and what was asked for.
type h3 struct {
	addr  netip.AddrPort
	conns atomic.Int32
}

// startH3 starts an HTTP/3 server whose connection ids have a length; 0: none.
func startH3(t *testing.T, name string, idLen int, retry bool, versions ...quic.Version) *h3 {
	t.Helper()
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	socket := udpSocket(t, "127.0.0.1:0")
	transport := &quic.Transport{Conn: socket, ConnectionIDLength: idLen}
	if retry {
		transport.VerifySourceAddress = func(net.Addr) bool { return true }
	}
	tlsConfig := http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{*cert}})
	ln, err := transport.ListenEarly(tlsConfig, &quic.Config{Versions: versions})
	if err != nil {
		t.Fatal(err)
	}
	s := &h3{addr: addrOf(socket)}
	server := &http3.Server{
		Logger: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+" "+r.URL.Path)
			_, _ = io.Copy(w, r.Body)
		}),
		ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			s.conns.Add(1)
			return ctx
		},
	}
	var work sync.WaitGroup
	work.Go(func() { _ = server.ServeListener(ln) })
	t.Cleanup(func() {
		_ = server.Close()
		_ = ln.Close()
		_ = transport.Close()
		work.Wait()
	})
	return s
}

func udpSocket(t *testing.T, at string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// h3Client asks by HTTP/3 what is at an address, over one socket for all names.
type h3Client struct {
	*testing.T
	*http3.Transport
	quic *quic.Transport
}

func newH3Client(t *testing.T, at netip.AddrPort, groups []tls.CurveID, versions ...quic.Version) *h3Client {
	t.Helper()
	c := &h3Client{T: t, quic: &quic.Transport{Conn: udpSocket(t, "127.0.0.1:0")}}
	c.Transport = &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, CurvePreferences: groups},
		QUICConfig:      &quic.Config{Versions: versions, DisablePathMTUDiscovery: true},
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return c.quic.DialEarly(ctx, net.UDPAddrFromAddrPort(at), tlsConfig, config)
		},
	}
	t.Cleanup(c.Close)
	return c
}

func (c *h3Client) Close() {
	_ = c.Transport.Close()
	_ = c.quic.Close()
}

// get expects that a name is served by the server of that name.
func (c *h3Client) get(name, path string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	resp, err := c.RoundTrip(req)
	if err != nil {
		c.Fatalf("asking %s for %s: %v", name, path, err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != name+" "+path {
		c.Errorf("asked %s for %s: got %q, %v", name, path, b, err)
	}
}

// startQUIC starts an edge with a listener of udp that passes names through.
func startQUIC(t *testing.T, extra string, servers map[string]*h3) *testkit.Edge {
	t.Helper()
	var services strings.Builder
	for name, s := range servers {
		fmt.Fprintf(&services, "  - {name: %q, url: 'tls_passthrough://%s', routes: [{name: %q, protocols: [tls_passthrough], snis: [%q]}]}\n", name, s.addr, name, name)
	}
	return startEdge(t, "node:\n  listeners:\n    - {name: quic, address: '127.0.0.1:0', serve: udp, answers: 1}\nservices:\n"+services.String()+extra)
}

// startEdge starts an edge that does not wait for its flows in the end.
func startEdge(t *testing.T, yaml string) *testkit.Edge {
	t.Helper()
	e := testkit.StartEdge(t, yaml)
	t.Cleanup(func() { stop(t, e) })
	return e
}

func stop(t *testing.T, e *testkit.Edge) {
	if err := e.Use("node: {listeners: [], drain: 0s}"); err != nil {
		t.Error(err)
	}
	e.Stop()
}

// ended waits until as many streams have ended for a reason.
func ended(t *testing.T, e *testkit.Edge, reason l4.Reason, n uint64) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got := e.Metrics().Streams.Ends.Load(int(reason))
		if got == n {
			return
		}
		if got > n || time.Now().After(end) {
			t.Fatalf("%v counts %d, want %d", reason, got, n)
		}
	}
}

// metric returns the value of a series, "" if there is none.
func metric(e *testkit.Edge, series string) string {
	w := httptest.NewRecorder()
	e.Metrics().Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for s := bufio.NewScanner(w.Body); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), series+" "); ok {
			return value
		}
	}
	return ""
}

func wantMetric(t *testing.T, e *testkit.Edge, series, want string) {
	t.Helper()
	if got := metric(e, series); got != want {
		t.Errorf("%s is %q, want %q", series, got, want)
	}
}

const (
	passed   = `bulwark_stream_sessions_total{listener="quic",protocol="tls_passthrough"}`
	datagram = `bulwark_stream_sessions_total{listener="quic",protocol="udp"}`
)

// TestQUIC passes connections to several servers by their names, though they
// come from one socket, with hellos of one datagram and of two.
func TestQUIC(t *testing.T) {
	servers := map[string]*h3{
		"one.test":   startH3(t, "one.test", 4, false),
		"two.test":   startH3(t, "two.test", 8, false),
		"retry.test": startH3(t, "retry.test", 20, true),
		"named.test": startH3(t, "named.test", 0, false),
	}
	e := startQUIC(t, "", servers)
	clients := 0
	for _, groups := range [][]tls.CurveID{{tls.X25519}, nil} {
		for _, versions := range [][]quic.Version{{quic.Version1}, {quic.Version2}} {
			clients++
			c := newH3Client(t, e.At("quic"), groups, versions...)
			for range 3 {
				for name := range servers {
					c.get(name, "/a")
				}
			}
			c.Close()
		}
	}
	for name, s := range servers {
		if n := s.conns.Load(); n != int32(clients) {
			t.Errorf("%s has seen %d connections, want %d", name, n, clients)
		}
	}
	wantMetric(t, e, passed, fmt.Sprint(clients*len(servers)))
	wantMetric(t, e, datagram, "") // none ever

	c := newH3Client(t, e.At("quic"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var asked sync.WaitGroup
	asked.Go(func() {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://unknown.test/", nil)
		if resp, err := c.RoundTrip(req); err == nil {
			resp.Body.Close()
			t.Error("an unknown name is served")
		}
	})
	for end := time.Now().Add(patience); e.Metrics().Streams.Ends.Load(int(l4.ReasonNoRoute)) == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	asked.Wait()
	if e.Metrics().Streams.Ends.Load(int(l4.ReasonNoRoute)) == 0 {
		t.Error("the unknown name is not counted")
	}
}

// TestQUICVersions has a server that does not speak the version that a client
// begins with: it says so, and the client begins anew.
func TestQUICVersions(t *testing.T) {
	server := startH3(t, "v2.test", 8, false, quic.Version2)
	e := startQUIC(t, "", map[string]*h3{"v2.test": server})
	transport := &quic.Transport{Conn: udpSocket(t, "127.0.0.1:0")}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(e.At("quic")),
		&tls.Config{ServerName: "v2.test", InsecureSkipVerify: true, NextProtos: []string{http3.NextProtoH3}},
		&quic.Config{Versions: []quic.Version{quic.Version1, quic.Version2}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	if v := conn.ConnectionState().Version; v != quic.Version2 {
		t.Errorf("version %v", v)
	}
	wantMetric(t, e, passed, "2")
}

// nat is what stands between a client and an edge, and gives the client another
// address now and then. Both of its sides work until the test ends.
type nat struct {
	*testing.T
	at     netip.AddrPort // for the client
	inside *net.UDPConn
	to     netip.AddrPort
	client atomic.Pointer[netip.AddrPort]
	first  []byte // goes before the first datagram from each address
	work   sync.WaitGroup

	mu      sync.Mutex
	outside *net.UDPConn
	fresh   bool
}

func newNAT(t *testing.T, to netip.AddrPort, from string, first []byte) *nat {
	n := &nat{T: t, inside: udpSocket(t, "127.0.0.1:0"), to: to, first: first}
	n.at = addrOf(n.inside)
	n.move(from)
	n.work.Go(func() {
		b := make([]byte, 65536)
		for {
			size, client, err := n.inside.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			n.client.Store(&client)
			n.mu.Lock()
			out, p := n.outside, b[:size]
			if n.fresh {
				n.fresh = false
				p = append(append([]byte(nil), n.first...), p...)
			}
			n.mu.Unlock()
			_, _ = out.WriteToUDPAddrPort(p, to)
		}
	})
	t.Cleanup(func() {
		n.inside.Close()
		n.outside.Close()
		n.work.Wait()
	})
	return n
}

// move lets the client have another address. What is sent to the old one is
// lost.
func (n *nat) move(ip string) {
	out := udpSocket(n.T, ip+":0")
	n.mu.Lock()
	old := n.outside
	n.outside, n.fresh = out, true
	n.mu.Unlock()
	if old != nil {
		old.Close()
	}
	n.work.Go(func() {
		b := make([]byte, 65536)
		for {
			size, _, err := out.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = n.inside.WriteToUDPAddrPort(b[:size], *n.client.Load())
		}
	})
}

// TestQUICMoves lets clients change their addresses many times, so that they
// come to every loop. quic-go uses an id that only encrypted frames told from the
// end of the handshake on.
func TestQUICMoves(t *testing.T) {
	for _, idLen := range []int{4, 20} {
		one, two := startH3(t, "one.test", idLen, false), startH3(t, "two.test", 8, true)
		e := startQUIC(t, "", map[string]*h3{"one.test": one, "two.test": two})
		for _, name := range []string{"one.test", "two.test"} {
			n := newNAT(t, e.At("quic"), "127.0.0.1", nil)
			c := newH3Client(t, n.at, nil)
			for i := range 16 {
				c.get(name, fmt.Sprintf("/%d", i))
				c.get(name, "/again") // with what the client has learned
				n.move(fmt.Sprintf("127.0.0.%d", 1+i%3))
			}
			c.Close()
		}
		if a, b := one.conns.Load(), two.conns.Load(); a != 1 || b != 1 {
			t.Errorf("ids of %d bytes: the servers have seen %d and %d connections, want one each", idLen, a, b)
		}
		wantMetric(t, e, passed, "2")
		stop(t, e)
	}
}

// TestQUICReload takes routes away, and gives them to a listener that had none:
// connections that are there go on.
func TestQUICReload(t *testing.T) {
	one := startH3(t, "one.test", 8, false)
	const without = "node: {listeners: [{name: quic, address: '127.0.0.1:%d', serve: udp}]}\n"
	e := startEdge(t, fmt.Sprintf(without, 0))
	listener := fmt.Sprintf(without, e.Port("quic"))
	with := listener + fmt.Sprintf("services: [{name: one, url: 'udp://%s', routes: [{protocols: [tls_passthrough], snis: [one.test]}]}]", one.addr)
	if err := e.Use(with); err != nil {
		t.Fatal(err)
	}
	n := newNAT(t, e.At("quic"), "127.0.0.1", nil)
	c := newH3Client(t, n.at, nil)
	for i := range 8 {
		c.get("one.test", "/with")
		if err := e.Use(listener); err != nil {
			t.Fatal(err)
		}
		c.get("one.test", "/without")
		n.move("127.0.0.1")
		c.get("one.test", fmt.Sprintf("/moved/%d", i))
		if err := e.Use(with); err != nil {
			t.Fatal(err)
		}
	}
	if conns := one.conns.Load(); conns != 1 {
		t.Errorf("%d connections, want 1", conns)
	}
}
