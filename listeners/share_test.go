package listeners

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// TestShare lets clients come to a listener whose socket nobody needs.
func TestShare(t *testing.T) {
	tests := []struct {
		name    string
		limits  Limits
		clients []string
		want    []telemetry.Refusal // 0 stands for one that is let in
		banned  string
	}{
		{"no bound", Limits{}, []string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, []telemetry.Refusal{0, 0, 0}, ""},
		{
			"for each client", Limits{ConnectionsPerAddress: 1},
			[]string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"},
			[]telemetry.Refusal{0, telemetry.RefusedPerAddress, 0, 0, telemetry.RefusedPerAddress, 0}, "",
		},
		{
			"for each network", Limits{ConnectionsPerNetwork: 2},
			[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.3.1", "2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:1::1"},
			[]telemetry.Refusal{0, 0, telemetry.RefusedPerNetwork, 0, 0, 0, telemetry.RefusedPerNetwork, 0}, "",
		},
		{
			"rate", Limits{NewConnectionsPerSecond: 2},
			[]string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.1"},
			[]telemetry.Refusal{0, 0, telemetry.RefusedRate, 0, telemetry.RefusedRate}, "",
		},
		{
			"rate with a ban", Limits{NewConnectionsPerSecond: 1, BanTime: time.Hour},
			[]string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"},
			[]telemetry.Refusal{0, telemetry.RefusedRate, telemetry.RefusedBanned, 0}, "192.0.2.1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := telemetry.NewMetrics(telemetry.Options{})
			s := NewSet(nil, new(l4.Bans), m, slog.New(slog.DiscardHandler))
			s.most.Store(1 << 20)
			tt.limits.Connections = 1 << 20
			l := newListener(s, Spec{Name: "web", Limits: tt.limits}, nil)
			local := netip.MustParseAddrPort("192.0.2.99:80")
			var in []*l4.Conn
			for i, client := range tt.clients {
				c := &l4.Conn{Info: l4.NewInfo("web", netip.AddrPortFrom(netip.MustParseAddr(client), 4711), local)}
				why, ok := l.enter(c, l.rules.Load(), false)
				if ok {
					in = append(in, c)
				}
				if ok != (tt.want[i] == 0) || why != tt.want[i] {
					t.Errorf("client %d, %s: let in %t, %s", i, client, ok, why)
				}
			}
			if tt.banned != "" != (s.bans.Len() == 1) || tt.banned != "" && !s.bans.Has(netip.MustParseAddr(tt.banned)) {
				t.Errorf("%d clients are banned", s.bans.Len())
			}
			for _, c := range in {
				l.leave(c)
			}
			if len(l.held) != 0 || len(l.conns) != 0 || s.open.Load() != 0 {
				t.Errorf("left behind: %v, %d connections", l.held, len(l.conns))
			}
		})
	}
}

// TestRatesOutliveChanges changes a listener: who has come too often by then has
// no more tokens after it.
func TestRatesOutliveChanges(t *testing.T) {
	s := NewSet(nil, new(l4.Bans), telemetry.NewMetrics(telemetry.Options{}), slog.New(slog.DiscardHandler))
	spec := Spec{Name: "web", Limits: Limits{NewConnectionsPerSecond: 5}}
	l := newListener(s, spec, nil)
	before := l.rules.Load().rates
	spec.Limits.Connections = 7
	l.change(spec)
	if l.rules.Load().rates != before {
		t.Error("another setting began the counts anew")
	}
	spec.Limits.NewConnectionsPerSecond = 6
	l.change(spec)
	if l.rules.Load().rates == before {
		t.Error("the old rate is in force")
	}
}
