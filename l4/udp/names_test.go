package udp

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tagged is a Keyer whose datagrams begin with '#' and a name of one byte.
// Answers that begin with '+' give their flow the name behind it.
type tagged struct{ stay bool }

func (tagged) Name(p []byte) (Name, bool) {
	if len(p) < 2 || p[0] != '#' {
		return Name{}, false
	}
	return NameOf(p[1:2])
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
		if e.held.Load() != 0 || len(p.names.flows) != 0 {
			t.Errorf("%d bytes and %d names are left", e.held.Load(), len(p.names.flows))
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
		for n := range p.names.flows {
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
