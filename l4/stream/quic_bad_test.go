package stream_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
)

// hellos returns the datagrams with which quic-go begins a connection.
func hellos(t *testing.T, name string, groups ...tls.CurveID) (datagrams [][]byte) {
	t.Helper()
	server := udpSocket(t, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = quic.DialAddr(ctx, server.LocalAddr().String(), &tls.Config{ServerName: name, NextProtos: []string{"h3"}, CurvePreferences: groups}, nil)
	}()
	want := 2
	if len(groups) > 0 {
		want = 1
	}
	_ = server.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 65536); len(datagrams) < want; {
		n, _, err := server.ReadFromUDPAddrPort(b)
		if err != nil {
			t.Fatal(err)
		}
		datagrams = append(datagrams, slices.Clone(b[:n]))
	}
	cancel()
	<-done
	return datagrams
}

// say sends datagrams from a new socket, which it returns.
func say(t *testing.T, to netip.AddrPort, from string, datagrams ...[]byte) *net.UDPConn {
	t.Helper()
	c := udpSocket(t, from+":0")
	for _, d := range datagrams {
		if _, err := c.WriteToUDPAddrPort(d, to); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// heard returns the next datagram that comes to a socket, and from where.
func heard(t *testing.T, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatalf("waiting for a datagram: %v", err)
	}
	return string(b[:n]), from
}

const badServices = `
services:
  - {name: one, url: 'tls_passthrough://%s', routes: [{name: one, protocols: [tls_passthrough], snis: [one.test]}]}
`

// TestBadQUIC sends what is no connection that could be passed on. Nothing of it
// reaches a server, all of it is counted, and nothing is left of it.
func TestBadQUIC(t *testing.T) {
	up := udpSocket(t, "127.0.0.1:0")
	e := startEdge(t, "node: {listeners: [{name: quic, address: '127.0.0.1:0', serve: udp}]}"+fmt.Sprintf(badServices, addrOf(up)))
	at := e.At("quic")
	good := hellos(t, "one.test", tls.X25519)[0]
	other := hellos(t, "other.test", tls.X25519)[0]
	flipped := slices.Clone(good)
	flipped[len(flipped)-1] ^= 1
	version := slices.Clone(good)
	copy(version[1:], "\x1a\x2a\x3a\x4a")
	garbage := make([]byte, 1300)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range garbage {
		garbage[i] = byte(random.Uint32())
	}
	long := slices.Clone(garbage)
	long[0] |= 0xc0
	noRoute := [][]byte{
		nil,
		{0xc0},
		good[:30], good[:1199], flipped, version, garbage, long, other,
		[]byte("\x40short header of nobody's connection"),
		append([]byte{0xc0, 0, 0, 0, 0, 4, 1, 2, 3, 4, 0}, make([]byte, 40)...), // version negotiation by a client
	}
	for _, d := range noRoute {
		say(t, at, "127.0.0.1", d)
	}
	ended(t, e, l4.ReasonNoRoute, uint64(len(noRoute)))

	// Half a hello, whose other half does not come. What is garbage meanwhile
	// changes nothing.
	two := hellos(t, "one.test")
	say(t, at, "127.0.0.1", two[0], garbage, []byte("x"))
	ended(t, e, l4.ReasonBadHello, 1)

	// What came first of all that is passed on.
	say(t, at, "127.0.0.1", two[0], two[1])
	for i, want := range two {
		if got, _ := heard(t, up); got != string(want) {
			t.Errorf("datagram %d is another one, of %d bytes", i, len(got))
		}
	}
	wantMetric(t, e, passed, "2") // with that for other.test
	stop(t, e)
	if n := e.Metrics().Streams.Ends.Load(int(l4.ReasonNoRoute)); n != uint64(len(noRoute)) {
		t.Errorf("%d streams without a route, want %d", n, len(noRoute))
	}
}

// TestQUICBesideDatagrams has a route of udp for what is not passed through by
// name: another name, another version, and what is no QUIC.
func TestQUICBesideDatagrams(t *testing.T) {
	one, rest := udpSocket(t, "127.0.0.1:0"), udpSocket(t, "127.0.0.1:0")
	e := startEdge(t, "node: {listeners: [{name: quic, address: '127.0.0.1:0', serve: udp}]}"+fmt.Sprintf(badServices, addrOf(one))+
		fmt.Sprintf("  - {name: rest, url: 'udp://%s', routes: [{name: rest, protocols: [udp], sources: [{ip: 127.0.0.0/8}]}]}\n", addrOf(rest)))
	good, other := hellos(t, "one.test", tls.X25519)[0], hellos(t, "other.test")
	version := slices.Clone(good)
	copy(version[1:], "\x1a\x2a\x3a\x4a")
	version[6]++ // another connection id
	for _, tt := range []struct {
		name string
		say  [][]byte
		to   *net.UDPConn
	}{
		{"its name", [][]byte{good}, one},
		{"another name, in two datagrams", other, rest},
		{"another version", [][]byte{version}, rest},
		{"no QUIC", [][]byte{[]byte("hello"), []byte("again")}, rest},
	} {
		c := say(t, e.At("quic"), "127.0.0.1", tt.say...)
		for _, want := range tt.say {
			got, from := heard(t, tt.to)
			if got != string(want) {
				t.Errorf("%s: a datagram of %d bytes came, want one of %d", tt.name, len(got), len(want))
			}
			// The answer finds its client; what others send to the flow does not.
			say(t, from, "127.0.0.1", []byte("forged"))
			if _, err := tt.to.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
				t.Fatal(err)
			}
			if got, _ := heard(t, c); got != "answer" {
				t.Errorf("%s: answered %q", tt.name, got)
			}
		}
	}
}

// proxyV2 returns a PROXY header of version 2 with an address family.
func proxyV2(t *testing.T, family string) []byte {
	t.Helper()
	b := l4.AppendProxyHeader(nil, l4.ProxyV2, true, netip.MustParseAddrPort("203.0.113.7:4711"), netip.MustParseAddrPort("198.51.100.9:443"), nil)
	switch family {
	case "udp":
	case "tcp":
		b[13] = 0x11
	case "local":
		b[12] = 0x20
	default:
		t.Fatal(family)
	}
	return b
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// TestProxiedDatagrams has a proxy tell who its client is. What others say of
// that is content.
func TestProxiedDatagrams(t *testing.T) {
	up := udpSocket(t, "127.0.0.1:0")
	conf := fmt.Sprintf(`
node:
  listeners:
    - {name: quic, address: '127.0.0.1:0', serve: udp, proxy_protocol: [127.0.0.2], limits: {flows_per_address: 1}}
services:
  - name: one
    url: 'udp://%s'
    routes:
      - {name: told, protocols: [udp], sources: [{ip: 203.0.113.7}]}
      - {name: own, protocols: [udp], sources: [{ip: 127.0.0.0/8}]}
      - {name: named, protocols: [tls_passthrough], snis: [one.test]}
`, addrOf(up))
	head := proxyV2(t, "udp")
	two := hellos(t, "one.test")
	for _, tt := range []struct {
		name, from string
		say        [][]byte
		want       []string // what the upstream gets; nil: it is refused
		client     string
		route      string
	}{
		{"a header", "127.0.0.2", [][]byte{join(head, []byte("x")), head}, []string{"x", string(head)}, "203.0.113.7", "told"},
		{"nothing behind it", "127.0.0.2", [][]byte{head, []byte("y")}, []string{"", "y"}, "203.0.113.7", "told"},
		{"the proxy itself", "127.0.0.2", [][]byte{join(proxyV2(t, "local"), []byte("x"))}, []string{"x"}, "127.0.0.2", "own"},
		{"a hello of two datagrams", "127.0.0.2", [][]byte{join(head, two[0]), two[1]}, []string{string(two[0]), string(two[1])}, "203.0.113.7", "named"},
		{"not listed", "127.0.0.3", [][]byte{join(head, []byte("x"))}, []string{string(head) + "x"}, "127.0.0.3", "own"},
		{"no header", "127.0.0.2", [][]byte{[]byte("x")}, nil, "", ""},
		{"no datagram", "127.0.0.2", [][]byte{nil}, nil, "", ""},
		{"of TCP", "127.0.0.2", [][]byte{join(proxyV2(t, "tcp"), []byte("x"))}, nil, "", ""},
		{"of version 1", "127.0.0.2", [][]byte{[]byte("PROXY TCP4 203.0.113.7 198.51.100.9 4711 443\r\nx")}, nil, "", ""},
		{"cut off", "127.0.0.2", [][]byte{head[:len(head)-1]}, nil, "", ""},
		{"of another version", "127.0.0.2", [][]byte{join(head[:12], []byte{0x11}, head[13:])}, nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := startEdge(t, conf)
			c := say(t, e.At("quic"), tt.from, tt.say...)
			if tt.want == nil {
				const refused = `bulwark_connections_refused_total{listener="quic",reason="proxy_header"}`
				for end := time.Now().Add(patience); metric(e, refused) != "1"; time.Sleep(time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("refused: %q, want 1", metric(e, refused))
					}
				}
				// Only a header makes it a flow.
				if _, err := c.WriteToUDPAddrPort(join(head, []byte("late")), e.At("quic")); err != nil {
					t.Fatal(err)
				}
				if got, _ := heard(t, up); got != "late" {
					t.Errorf("the upstream got %q", got)
				}
				return
			}
			var from netip.AddrPort
			for i, want := range tt.want {
				var got string
				if got, from = heard(t, up); got != want {
					t.Errorf("datagram %d is %q, want %q", i, got, want)
				}
			}
			if _, err := up.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
				t.Fatal(err)
			}
			if got, _ := heard(t, c); got != "answer" {
				t.Errorf("answered %q", got)
			}
			// The bound is on clients, of which the proxy has many.
			if tt.client == "203.0.113.7" {
				say(t, e.At("quic"), "127.0.0.2", join(proxyV2(t, "local"), []byte("other")))
				if got, _ := heard(t, up); got != "other" {
					t.Errorf("the next client's datagram is %q", got)
				}
			}
			stop(t, e)
			wantEntry(t, e, tt.client, tt.route)
		})
	}
}

// wantEntry expects a stream of a client by a route in the access log.
func wantEntry(t *testing.T, e *testkit.Edge, client, route string) {
	t.Helper()
	lines := e.AccessLog()
	for _, line := range lines {
		var entry struct {
			ClientIP string `json:"client_ip"`
			Route    struct{ Name string }
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("log line %q: %v", line, err)
		}
		if entry.ClientIP == client && entry.Route.Name == route {
			return
		}
	}
	t.Errorf("no entry has client %s and route %s:\n%s", client, route, strings.Join(lines, "\n"))
}
