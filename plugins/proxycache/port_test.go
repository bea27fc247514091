package proxycache

import (
	"net/netip"
	"testing"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
)

// TestPlaceCounts holds that the port a client came to, which the upstream is
// told, and what plugins make of answers tell stored answers apart, but not what
// clients are shown.
func TestPlaceCounts(t *testing.T) {
	p := new(Plugin)
	x := l7.NewExchange()
	defer x.Release()
	of := func(local string) key {
		x.Conn = &l4.Info{Local: netip.MustParseAddrPort(local)}
		return p.keyOf(x, "GET")
	}
	if k1, k2 := of("192.0.2.2:8000"), of("192.0.2.2:8001"); k1 != k2 {
		t.Errorf("keys %x and %x", k1, k2)
	}
	k := of("192.0.2.2:8000")
	places := map[key]bool{k: true}
	for _, p := range []place{{}, {port: 8000}, {port: 8001}, {shape: 8000}, {port: 8000, shape: 1}, {port: 8000, shape: 1 << 48}} {
		places[k.at(p)] = true
	}
	if len(places) != 7 {
		t.Errorf("7 places have %d keys", len(places))
	}
	x.UpstreamHeader().Add("X-Team", "red")
	if n := testing.AllocsPerRun(100, func() { p.keyOf(x, "GET").at(place{8000, 1}) }); n != 0 {
		t.Errorf("the key of an edited header allocates %v times", n)
	}
}
