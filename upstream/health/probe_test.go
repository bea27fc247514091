package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit/port"
	"github.com/bulwark-edge/bulwark/upstream"
)

// startServer starts an HTTP server.
func startServer(t *testing.T, secure bool, serve http.HandlerFunc) (*httptest.Server, netip.AddrPort) {
	t.Helper()
	s := httptest.NewUnstartedServer(serve)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	if secure {
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, netip.MustParseAddrPort(s.Listener.Addr().String())
}

// closedPort returns an address on which nothing listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(port.Lasting(t))
}

func plainProbe() *Probe {
	return &Probe{Timeout: patience, Path: "/", Agent: "bulwark/test"}
}

// ping makes a probe one of UDP.
func ping(p *Probe) { p.Kind, p.Payload, p.Answer = UDP, []byte("ping"), []byte("pong") }

func TestProbeOutcomes(t *testing.T) {
	tests := []struct {
		name string
		at   func(t *testing.T) netip.AddrPort
		edit func(p *Probe)
		want upstream.Outcome
		text string // in the error
	}{
		{"answer", func(t *testing.T) netip.AddrPort {
			return startRaw(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
		}, nil, upstream.Outcome{Kind: upstream.OutcomeStatus, Status: 200}, ""},
		{"failure", func(t *testing.T) netip.AddrPort { return startRaw(t, "HTTP/1.1 500 x\r\n\r\n") }, nil, upstream.Outcome{Kind: upstream.OutcomeStatus, Status: 500}, ""},
		{"not http", func(t *testing.T) netip.AddrPort { return startRaw(t, "220 mail\r\n") }, nil, upstream.Outcome{Kind: upstream.OutcomeStatus}, "not HTTP/1"},
		{"closes", func(t *testing.T) netip.AddrPort {
			return startTCP(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<10)) })
		}, nil, upstream.Outcome{Kind: upstream.OutcomeConnect}, "closed within the head"},
		{"refuses", closedPort, nil, upstream.Outcome{Kind: upstream.OutcomeConnect}, "connection refused"},
		{"hangs", func(t *testing.T) netip.AddrPort { return startRaw(t, "") }, func(p *Probe) { p.Timeout = soon }, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "waiting 50ms: context deadline exceeded"},
		{"hangs within its head", func(t *testing.T) netip.AddrPort { return startRaw(t, "HTTP/1.1 200 OK\r\nA: b") }, func(p *Probe) { p.Timeout = soon }, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "deadline"},
		{"drips for ever", func(t *testing.T) netip.AddrPort {
			return startTCP(t, func(c net.Conn) {
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
				for ; err == nil; _, err = io.WriteString(c, "A: b\r\n") {
					<-tick.C
				}
			})
		}, func(p *Probe) { p.Timeout = soon }, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "deadline"},
		{"tcp", func(t *testing.T) netip.AddrPort { return startRaw(t, "") }, func(p *Probe) { p.Kind = TCP }, upstream.Outcome{Kind: upstream.OutcomeStatus}, ""},
		{"tcp refuses", closedPort, func(p *Probe) { p.Kind = TCP }, upstream.Outcome{Kind: upstream.OutcomeConnect}, "connection refused"},
		{"udp", func(t *testing.T) netip.AddrPort { return startUDP(t, "pong") }, ping, upstream.Outcome{Kind: upstream.OutcomeStatus}, ""},
		{"udp, another answer first", func(t *testing.T) netip.AddrPort { return startUDP(t, "p", "", "pONG", "pong and more") }, ping, upstream.Outcome{Kind: upstream.OutcomeStatus}, ""},
		{"udp, any answer", func(t *testing.T) netip.AddrPort { return startUDP(t, "x") }, func(p *Probe) { ping(p); p.Answer = nil }, upstream.Outcome{Kind: upstream.OutcomeStatus}, ""},
		{"udp, any answer, without content", func(t *testing.T) netip.AddrPort { return startUDP(t, "") }, func(p *Probe) { ping(p); p.Answer = nil }, upstream.Outcome{Kind: upstream.OutcomeStatus}, ""},
		{"udp, another answer", func(t *testing.T) netip.AddrPort { return startUDP(t, "pONG") }, func(p *Probe) { ping(p); p.Timeout = soon }, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "deadline"},
		{"udp, a flood of other answers", func(t *testing.T) netip.AddrPort { return startUDP(t, strings.Split(strings.Repeat("x", 100), "")...) }, ping, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "none of 16 answers"},
		{"udp, silence", func(t *testing.T) netip.AddrPort { return startUDP(t) }, func(p *Probe) { ping(p); p.Timeout = soon }, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "deadline"},
		{"udp refuses", closedPort, ping, upstream.Outcome{Kind: upstream.OutcomeConnect}, "connection refused"},
		{"no tls", func(t *testing.T) netip.AddrPort { return startRaw(t, "") }, func(p *Probe) { p.TLS, p.Timeout = new(tls.Config), soon }, upstream.Outcome{Kind: upstream.OutcomeTimeout}, "deadline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plainProbe()
			if tt.edit != nil {
				tt.edit(p)
			}
			at := tt.at(t)
			got, err := p.Send(t.Context(), at, at.Addr().String())
			if got.Latency <= 0 || got.Latency > patience {
				t.Errorf("latency %v", got.Latency)
			}
			got.Latency = 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("outcome (-want +got), error %v:\n%s", err, diff)
			}
			if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want one with %q", err, tt.text)
			}
		})
	}
}

// TestProbeMeetsItself asks by a socket that was given the very port that it is to
// ask, as the kernel may do where nobody listens: what it hears is no answer.
func TestProbeMeetsItself(t *testing.T) {
	at := net.UDPAddrFromAddrPort(closedPort(t))
	socket, err := net.DialUDP("udp", at, at)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(patience))
	p := plainProbe()
	ping(p)
	for _, answer := range []string{"ping", ""} { // what it sends, and anything
		p.Answer = []byte(answer)
		if err := p.exchange(socket); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("an answer that begins with %q: %v, want %v", answer, err, syscall.ECONNREFUSED)
		}
	}
}

func TestProbeRequest(t *testing.T) {
	tests := []struct {
		name, host string
		probe      Probe
		want       string
	}{
		{
			"a target's name", "api.test",
			Probe{Path: "/health", Agent: "bulwark/1"},
			"GET /health HTTP/1.1\r\nHost: api.test\r\nUser-Agent: bulwark/1\r\nConnection: close\r\n\r\n",
		},
		{
			"an IPv6 address", "::1",
			Probe{Path: "/", Agent: "bulwark/1"},
			"GET / HTTP/1.1\r\nHost: [::1]\r\nUser-Agent: bulwark/1\r\nConnection: close\r\n\r\n",
		},
		{
			"the upstream's host_header", "api.test",
			Probe{Path: "/", Host: "shop.test:81", Agent: "bulwark/1"},
			"GET / HTTP/1.1\r\nHost: shop.test:81\r\nUser-Agent: bulwark/1\r\nConnection: close\r\n\r\n",
		},
		{
			"header fields", "api.test",
			Probe{Path: "/", Host: "shop.test", Agent: "bulwark/1", Headers: map[string][]string{"x-b": {"1", "2"}, "host": {"own.test"}, "User-agent": {"me"}, "A": {}}},
			"GET / HTTP/1.1\r\nUser-agent: me\r\nhost: own.test\r\nx-b: 1\r\nx-b: 2\r\nConnection: close\r\n\r\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(tt.probe.request(tt.host))); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// TestProbeDoesNotFollowRedirects probes a server that redirects to itself.
func TestProbeDoesNotFollowRedirects(t *testing.T) {
	var requests atomic.Int32
	_, at := startServer(t, false, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	got, err := plainProbe().Send(t.Context(), at, "api.test")
	if err != nil || got.Status != http.StatusFound || requests.Load() != 1 {
		t.Errorf("%+v, %v after %d requests, want 302 after 1", got, err, requests.Load())
	}
}

func TestProbeTLS(t *testing.T) {
	s, at := startServer(t, true, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200 + 2*len(r.TLS.PeerCertificates) + len(r.TLS.ServerName))
	})
	trusting := x509.NewCertPool()
	trusting.AddCert(s.Certificate()) // valid for example.com and 127.0.0.1
	tests := []struct {
		name, host string
		tls        *tls.Config
		want       int // 0: a failed handshake
	}{
		{"trusted name", "example.com", &tls.Config{RootCAs: trusting}, 200 + len("example.com")},
		{"address", "127.0.0.1", &tls.Config{RootCAs: trusting}, 200},
		{"unknown authority", "example.com", &tls.Config{RootCAs: x509.NewCertPool()}, 0},
		{"another name", "api.test", &tls.Config{RootCAs: trusting}, 0},
		{"another name, https_sni", "api.test", &tls.Config{RootCAs: trusting, ServerName: "example.com"}, 200 + len("example.com")},
		{"not verified", "api.test", &tls.Config{InsecureSkipVerify: true}, 200 + len("api.test")},
		{"own certificate", "127.0.0.1", &tls.Config{RootCAs: trusting, Certificates: s.TLS.Certificates}, 202},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plainProbe()
			p.TLS = tt.tls
			got, err := p.Send(t.Context(), at, tt.host)
			switch {
			case tt.want == 0 && (got.Kind != upstream.OutcomeConnect || err == nil || !strings.Contains(err.Error(), "shaking hands: ")):
				t.Errorf("%+v, %v, want a failed handshake", got, err)
			case tt.want != 0 && (got.Kind != upstream.OutcomeStatus || got.Status != tt.want || err != nil):
				t.Errorf("%+v, %v, want status %d", got, err, tt.want)
			}
		})
	}
}

// TestProbeEndsWithItsContext ends a probe whose answer never comes.
func TestProbeEndsWithItsContext(t *testing.T) {
	arrived := make(chan struct{}, 1)
	at := startTCP(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1<<10)); err == nil {
			arrived <- struct{}{}
		}
		_, _ = io.Copy(io.Discard, c)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		out upstream.Outcome
		err error
	}
	ended := make(chan result, 1)
	go func() {
		out, err := plainProbe().Send(ctx, at, "api.test")
		ended <- result{out, err}
	}()
	<-arrived
	cancel()
	select {
	case r := <-ended:
		if r.out.Kind != upstream.OutcomeNone || r.err == nil {
			t.Errorf("%+v, %v, want OutcomeNone and an error", r.out, r.err)
		}
	case <-time.After(patience / 2):
		t.Fatal("the probe goes on")
	}
}

// TestProbeClosesItsConnections counts what a server sees.
func TestProbeClosesItsConnections(t *testing.T) {
	const probes = 20
	var opened, closed atomic.Int32
	at := startTCP(t, func(c net.Conn) {
		opened.Add(1)
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
		if _, err := r.ReadByte(); err != nil {
			closed.Add(1)
		}
	})
	for i := range probes {
		if got, err := plainProbe().Send(t.Context(), at, "api.test"); got.Status != 200 {
			t.Fatalf("probe %d: %+v, %v", i, got, err)
		}
	}
	eventually(t, "the connections to close", func() bool { return closed.Load() >= probes })
	if opened.Load() != probes || closed.Load() != probes {
		t.Errorf("%d connections were opened and %d closed, want %d", opened.Load(), closed.Load(), probes)
	}
}

func TestOwnWantsAreNoVerdict(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("dialing: %w", &net.OpError{Err: syscall.EMFILE}), true},
		{fmt.Errorf("dialing: %w", &net.OpError{Err: syscall.EADDRNOTAVAIL}), true},
		{fmt.Errorf("dialing: %w", &net.OpError{Err: syscall.ECONNREFUSED}), false},
		{errors.New("else"), false},
	} {
		if got := isOurs(tt.err); got != tt.want {
			t.Errorf("isOurs(%v) = %v", tt.err, got)
		}
	}
}
