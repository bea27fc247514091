package udp

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tagged is a Keyer whose datagrams begin with '#' and a name of one byte, which
// begin flows, or with '~', which do not. Answers that begin with '+' give their
// flow the name behind it, and what begins with '~' does so once it is there.
type tagged struct{ stay bool }

func (tagged) Names(b []Name, p []byte) ([]Name, bool) {
	if len(p) < 2 || p[0] != '#' && p[0] != '~' {
		return b, false
	}
	n, _ := NameOf(p[1:2])
	return append(b, n), p[0] == '#'
}

func (tagged) Begins([]byte) bool { return true }

func (tagged) Unnamed(f *Flow, p []byte) {
	if len(p) > 1 && p[0] == '~' {
		n, _ := NameOf(p[1:2])
		f.AddName(n)
	}
}

func (k tagged) Moved(*Flow, netip.AddrPort, []byte) bool { return !k.stay }

func (tagged) Answer(f *Flow, p []byte) {
	if len(p) == 2 && p[0] == '+' {
		n, _ := NameOf(p[1:])
		f.AddName(n)
	}
}

// TestNames lets flows follow their clients to other addresses, on whichever
// loop those are.
func TestNames(t *testing.T) {
	for _, lanes := range []int{1, 8} {
		up := echo(t, "127.0.0.1:0")
		h := newStub(to(up))
		e := New(Limits{})
		p := serve(t, e, "0.0.0.0:0", lanes, Options{Handler: h, Keyer: tagged{}})
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddrPort(p.Addr()).Port())
		c := dialTo(t, at)
		send(t, c, []byte("#a first"))
		receive(t, c)
		// With eight loops, some of these sockets are another loop's.
		for range 32 {
			c = dialTo(t, at)
			send(t, c, []byte("#a moved"))
			if got := receive(t, c); string(got) != "#a moved" {
				t.Errorf("at a new address: got %q", got)
			}
		}
		// The upstream names it too.
		send(t, c, []byte("+b"))
		receive(t, c)
		send(t, c, []byte("#b"))
		receive(t, c)
		p.Close()
		ends := h.ends(t, 1)
		if c := p.Counts(); c.Opened > 2 || ends[len(ends)-1].received.Datagrams < 33 && ends[0].received.Datagrams < 33 {
			t.Errorf("%d loops: the counts %+v, the ends %+v", lanes, c, ends)
		}
		if e.held.Load() != 0 || len(p.names.claims) != 0 || len(p.names.away) != 0 {
			t.Errorf("%d bytes and %d names are left", e.held.Load(), len(p.names.claims))
		}
	}
}

// TestNamesThatStay forwards what comes from elsewhere, and answers where it
// did before.
func TestNamesThatStay(t *testing.T) {
	up := listen(t, "127.0.0.1:0")
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(to(addrOf(up))), Keyer: tagged{stay: true}})
	at := netip.MustParseAddrPort(p.Addr())
	c, other := dialTo(t, at), dialTo(t, at)
	send(t, c, []byte("#a"))
	b := make([]byte, 100)
	_, from, err := up.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	send(t, other, []byte("#a forged"))
	if got := receive(t, up); string(got) != "#a forged" {
		t.Errorf("forwarded %q", got)
	}
	if _, err := up.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); string(got) != "answer" {
		t.Errorf("got %q", got)
	}
	if n := p.Counts().Opened; n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
}

func TestNamesAreBounded(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(to(up)), Keyer: tagged{}})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	send(t, c, []byte("#a"))
	receive(t, c)
	for i := range 3 * namesPerFlow {
		send(t, c, []byte{'+', byte(i)})
		receive(t, c)
	}
	p.onLoops(func(*lane) {
		want := make(map[Name]bool)
		for i := 2 * namesPerFlow; i < 3*namesPerFlow; i++ {
			n, _ := NameOf([]byte{byte(i)})
			want[n] = true
		}
		got := make(map[Name]bool)
		for n := range p.names.claims {
			got[n] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	})
	for _, b := range [][]byte{nil, make([]byte, 21)} {
		if _, ok := NameOf(b); ok {
			t.Errorf("%d bytes are a name", len(b))
		}
	}
}

// TestLocal hands datagrams to a Consumer, which answers by SendTo.
func TestLocal(t *testing.T) {
	for _, bind := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		var answers sync.WaitGroup
		h := newStub(func(*Datagram) Decision { return Decision{Verdict: Local} })
		p := serve(t, New(Limits{}), bind, 2, Options{Handler: h, Consumer: consumer(func(f *Flow, b []byte, _ int) {
			b, client, local, port := bytes.ToUpper(b), f.Client(), f.Local(), f.Port()
			answers.Go(func() {
				if err := port.SendTo(b, local, client); err != nil {
					t.Error(err)
				}
			})
		})})
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.3"), netip.MustParseAddrPort(p.Addr()).Port())
		if bind == "127.0.0.1:0" {
			at = netip.MustParseAddrPort(p.Addr())
		}
		c := dialTo(t, at)
		for _, s := range []string{"one", "two", ""} {
			send(t, c, []byte(s))
			if got := receive(t, c); string(got) != string(bytes.ToUpper([]byte(s))) {
				t.Errorf("%s: got %q for %q", bind, got, s)
			}
		}
		p.Close()
		answers.Wait()
		if err := p.SendTo(nil, at, addrOf(c)); err == nil {
			t.Error("a closed listener sends")
		}
		if e := h.ends(t, 1); len(e) != 1 || e[0].received.Datagrams != 3 {
			t.Errorf("ended %+v", e)
		}
	}
}

// TestNamesAway lets a flow follow its client to other loops, and learn there
// what further names the client uses.
func TestNamesAway(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	e := New(Limits{})
	p := serve(t, e, "127.0.0.1:0", 8, Options{Handler: newStub(to(up)), Keyer: tagged{}})
	at := netip.MustParseAddrPort(p.Addr())
	c := dialTo(t, at)
	for _, s := range []string{"#a", "+0"} {
		send(t, c, []byte(s))
		receive(t, c)
	}
	for i := range byte(24) {
		c = dialTo(t, at)
		// By a name that is known, by one that is not, and by the address alone.
		for _, b := range [][]byte{{'~', '0' + i}, {'~', '1' + i}, []byte("no name")} {
			send(t, c, b)
			if got := receive(t, c); !bytes.Equal(got, b) {
				t.Errorf("socket %d sent %q, got %q", i, b, got)
			}
		}
	}
	if n := p.Counts().Opened; n != 1 {
		t.Errorf("%d flows, want 1", n)
	}
	p.names.mu.RLock()
	n := len(p.names.away)
	p.names.mu.RUnlock()
	if n > 1 {
		t.Errorf("the flow is away at %d addresses", n)
	}
	p.Close()
	if e.held.Load() != 0 || len(p.names.claims)+len(p.names.away) != 0 {
		t.Errorf("%d bytes, %d names and %d addresses are left", e.held.Load(), len(p.names.claims), len(p.names.away))
	}
}

// TestMovedFlowsCount lets a flow follow its client to another address, which has
// its share of flows from then on, and one whose client a proxy tells stay with
// that client.
func TestMovedFlowsCount(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	const proxied = "> "
	h := newStub(to(up))
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{
		Handler: h, Keyer: tagged{}, Bounds: Bounds{FlowsPerAddress: 1},
		Introduce: func(d *Datagram) bool {
			if bytes.HasPrefix(d.Payload, []byte(proxied)) {
				d.Client, d.Payload = netip.MustParseAddrPort("192.0.2.1:1"), d.Payload[len(proxied):]
			}
			return true
		},
	})
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.Addr()))
	from := func(ip byte) *net.UDPConn {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, ip)}, at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	drops := uint64(0)
	for _, step := range []struct {
		ip   byte
		what string
		ok   bool
	}{
		{21, "#a begins", true},
		{21, "#b is one too many", false},
		{22, "#a moves", true},
		{21, "#b has the place", true},
		{22, "#c has none", false},
		{23, proxied + "#d is 192.0.2.1's", true},
		{24, "#d moves with its proxy", true},
		{23, "#e has the first place", true},
		{25, proxied + "#f is 192.0.2.1's too", false},
		{24, "#g has the first place", true},
		{21, "#a moves back, to where there is no place", true},
		{22, "#h has the place that is left", true},
	} {
		c := from(step.ip)
		send(t, c, []byte(step.what))
		if step.ok {
			receive(t, c)
			continue
		}
		drops++
		until(t, step.what, func() bool { return p.Counts().Drops[DropAddress] == drops })
	}
	p.Close()
	if n := len(p.tenants.all); n != 0 {
		t.Errorf("%d clients are left", n)
	}
}
