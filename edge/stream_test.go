package edge_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
)

// startSayer starts a server that says its name in a line to who connects, and
// then gives back what comes. It returns its address.
func startSayer(t testing.TB, name string) string {
	t.Helper()
	return testkit.StartTCP(t, func(c net.Conn) {
		_, _ = io.WriteString(c, name+"\n")
		_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
	})
}

// startPacketSayer starts a server that answers each datagram with its name, a
// space, and what came. It returns its address.
func startPacketSayer(t testing.TB, name string) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() {
		c.Close()
		work.Wait()
	})
	work.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteToUDPAddrPort(append([]byte(name+" "), b[:n]...), from)
			}
		}
	})
	return c.LocalAddr().String()
}

func dialAt(t *testing.T, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// overTLS shakes hands as a client that wants a server, and returns the error of
// that.
func overTLS(t *testing.T, at netip.AddrPort, name string, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	c := tls.Client(dialAt(t, at), &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols})
	return c, c.Handshake()
}

// line reads a line.
func line(t *testing.T, c net.Conn) string {
	t.Helper()
	var b strings.Builder
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, one); err != nil {
			return b.String() + err.Error()
		}
		if one[0] == '\n' {
			return b.String()
		}
		b.WriteByte(one[0])
	}
}

const streamsOf = `
node:
  listeners:
    - {name: both, address: "127.0.0.1:0", serve: https}
    - {name: only, address: "127.0.0.1:0", serve: tls, limits: {connections: 50}}
    - {name: plain, address: "127.0.0.1:0", serve: tcp}
    - {name: guarded, address: "127.0.0.1:0", serve: tcp, plugins: [{name: ip-restriction, config: {deny: [127.0.0.9]}}]}
    - {name: behind, address: "127.0.0.1:0", serve: tls, proxy_protocol: [127.0.0.0/8]}
    - {name: flows, address: "127.0.0.1:0", serve: udp}
  limits: {header_timeout: 2s, hello_bytes: 4KiB}
upstreams:
  - {name: pool, hash_on: ip, targets: [{target: "$pool"}]}
services:
  - {name: db, url: "tcp://pool:5432"}
  - {name: passed, url: "tcp://$passed"}
  - {name: anyone, url: "tcp://$anyone"}
  - {name: nine, url: "tcp://$nine"}
  - {name: seven, url: "tcp://$seven"}
  - {name: flows, url: "udp://$flows"}
  - {name: off, url: "tcp://h:1", enabled: false}
  - {name: web, url: "$web"}
routes:
  - {name: passed, protocols: [tls_passthrough], snis: [pass.test, "*.pass.test"], service: passed}
  - {name: ended, protocols: [tls], snis: [end.test, pass.test], service: db}
  - {name: disabled, protocols: [tls], snis: [off.test], service: off}
  - {name: anyone, protocols: [tls], sources: [{ip: 127.0.0.0/8}], service: anyone}
  - {name: nine, protocols: [tcp], sources: [{ip: 127.0.0.9}], service: nine}
  - {name: seven, protocols: [tcp], sources: [{ip: 127.0.0.7}, {ip: 127.0.0.6}], service: seven}
  - {name: nowhere, protocols: [tcp], sources: [{ip: 127.0.0.5}]}
  - {name: flows, protocols: [udp], sources: [{ip: 127.0.0.0/8}], service: flows}
  - {name: http, paths: [/], service: web}
plugins:
  - {name: ip-restriction, route: seven, config: {deny: [127.0.0.6]}, protocols: [tcp]}
`

// streamConfig starts the servers of streamsOf and returns it with their
// addresses.
func streamConfig(t testing.TB) string {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "origin") }))
	t.Cleanup(origin.Close)
	words := []string{"$web", origin.URL, "$flows", startPacketSayer(t, "flows")}
	for _, name := range []string{"pool", "passed", "anyone", "nine", "seven"} {
		words = append(words, "$"+name, startSayer(t, name))
	}
	return strings.NewReplacer(words...).Replace(streamsOf)
}

// passed checks that what comes to a stream's server is the hello itself.
func passed(t *testing.T, at netip.AddrPort, name string) {
	t.Helper()
	raw := dialAt(t, at)
	c := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	// The server's line is no TLS, and reaches the client as it is.
	var record tls.RecordHeaderError
	if err := c.Handshake(); !errors.As(err, &record) || string(record.RecordHeader[:]) != "passe" {
		t.Errorf("%s: the handshake ended with %v, %q", name, err, record.RecordHeader)
	}
}

func TestStreamsBesideHTTPS(t *testing.T) {
	e := testkit.StartEdge(t, streamConfig(t))
	both := e.At("both")
	for _, name := range []string{"pass.test", "PASS.test", "a.pass.test"} {
		passed(t, both, name)
	}

	c, err := overTLS(t, both, "end.test", "http/1.1", "redis")
	if err != nil {
		t.Fatal(err)
	}
	if p := c.ConnectionState().NegotiatedProtocol; p != "" {
		t.Errorf("the stream negotiated %q", p)
	}
	if got := line(t, c); got != "pool" {
		t.Errorf("got %q", got)
	}
	if _, err := io.WriteString(c, "ping\n"); err != nil || line(t, c) != "ping" {
		t.Errorf("the stream does not go on: %v", err)
	}
	c.Close()

	// A route by sources alone does not take what is HTTPS, nor does one whose
	// service is disabled.
	for _, name := range []string{"web.test", "off.test", ""} {
		c, err := overTLS(t, both, name, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
			t.Errorf("%q: negotiated %q", name, p)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 200 ") || !strings.HasSuffix(string(b), "origin") {
			t.Errorf("%q: answered %q", name, b)
		}
	}

	plain := dialAt(t, both)
	_, _ = io.WriteString(plain, "GET / HTTP/1.1\r\n\r\n")
	if got := line(t, plain); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("plain HTTP is answered %q", got)
	}
}

func TestStreamsOverTLSOnly(t *testing.T) {
	e := testkit.StartEdge(t, streamConfig(t))
	passed(t, e.At("only"), "pass.test")
	c, err := overTLS(t, e.At("only"), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := line(t, c); got != "anyone" {
		t.Errorf("got %q", got)
	}
	c.Close()

	// Behind a PROXY header the client is another, and no route wants it.
	for _, tt := range []struct{ name, want string }{{"web.test", "unrecognized name"}, {"end.test", ""}} {
		raw := dialAt(t, e.At("behind"))
		_, _ = io.WriteString(raw, "PROXY TCP4 203.0.113.7 198.51.100.9 56324 443\r\n")
		err := tls.Client(raw, &tls.Config{ServerName: tt.name, InsecureSkipVerify: true}).Handshake()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the handshake ended with %v", tt.name, err)
		}
		raw.Close()
	}
	counts(t, e, l4.ReasonNoRoute, 1)
}

func TestStreamsByAddress(t *testing.T) {
	e := testkit.StartEdge(t, streamConfig(t))
	for _, tt := range []struct{ listener, from, want string }{
		{"plain", "127.0.0.9", "nine"},
		{"plain", "127.0.0.7", "seven"},
		{"plain", "127.0.0.6", "EOF"},
		{"plain", "127.0.0.5", "EOF"},
		{"plain", "127.0.0.1", "EOF"},
		{"guarded", "127.0.0.9", "EOF"},
		{"guarded", "127.0.0.7", "seven"},
	} {
		c := dialFrom(t, tt.from, e.At(tt.listener))
		if got := line(t, c); got != tt.want {
			t.Errorf("%s from %s: got %q, want %q", tt.listener, tt.from, got, tt.want)
		}
		c.Close()
	}
	counts(t, e, l4.ReasonRefused, 1)
	counts(t, e, l4.ReasonNoEndpoint, 1)
	counts(t, e, l4.ReasonNoRoute, 1)
	c, err := net.Dial("udp", e.At("flows").String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 64)
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "flows x" {
		t.Errorf("answered %q, %v", b[:n], err)
	}
}

// helloOf returns the ClientHello of a client that wants a server.
func helloOf(name string) []byte {
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
		client.Close()
	}()
	b := make([]byte, 16<<10)
	n, _ := server.Read(b)
	return b[:n]
}
