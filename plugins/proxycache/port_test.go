package proxycache

import (
	"net/netip"
	"testing"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
)

// TestPortCounts holds that the port a client came to, which the upstream is
// told, is part of the key, but not of what clients are shown of it.
func TestPortCounts(t *testing.T) {
	p := new(Plugin)
	x := l7.NewExchange()
	defer x.Release()
	of := func(local string) (key, string) {
		x.Conn = &l4.Info{Local: netip.MustParseAddrPort(local)}
		k := p.keyOf(x, "GET")
		return k, k.shown(x)
	}
	k1, shown1 := of("192.0.2.2:8000")
	k2, shown2 := of("192.0.2.2:8001")
	if k1 == k2 || shown1 != shown2 {
		t.Errorf("keys %x and %x, shown as %s and %s", k1, k2, shown1, shown2)
	}
	x.UpstreamHeader().Add("X-Team", "red")
	if n := testing.AllocsPerRun(100, func() { p.keyOf(x, "GET") }); n != 0 {
		t.Errorf("the key of an edited header allocates %v times", n)
	}
}
