package proxycache

import (
	"net/netip"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

// TestCredentialsOfConsumer asks for the same as consumers who send credentials
// to the upstream too: what is for some of them must not serve others.
func TestCredentialsOfConsumer(t *testing.T) {
	built, err := New(Config{Strategy: "memory"}, plugins.Env{State: new(plugins.State)})
	if err != nil {
		t.Fatal(err)
	}
	p := built.(*Plugin)
	program, other := &config.Consumer{ID: config.ID{1}}, &config.Consumer{ID: config.ID{2}}
	keyFor := func(c *config.Consumer, sent, received string) key {
		x := l7.NewExchange()
		defer x.Release()
		x.Conn = &l4.Info{Client: netip.MustParseAddrPort("192.0.2.1:1"), Local: netip.MustParseAddrPort("192.0.2.2:80")}
		x.Req.Method, x.Path, x.Consumer = "GET", "/me", c
		if received != "" {
			x.Req.Header.Add("Authorization", received)
		}
		if sent != received {
			x.UpstreamHeader().Del("Authorization")
		}
		return p.keyOf(x, "GET")
	}
	seen := make(map[key]string)
	for _, tt := range []struct {
		name     string
		consumer *config.Consumer
		sent     string
	}{
		{"nobody", nil, ""},
		{"a program", program, ""},
		{"a program for alice", program, "Bearer alice"},
		{"a program for bob", program, "Bearer bob"},
		{"another program for alice", other, "Bearer alice"},
	} {
		k := keyFor(tt.consumer, tt.sent, tt.sent)
		if before := seen[k]; before != "" {
			t.Errorf("%s gets the answers to %s", tt.name, before)
		}
		seen[k] = tt.name
	}
	if keyFor(program, "", "Bearer alice") != keyFor(program, "", "Bearer bob") {
		t.Error("credentials that the upstream is not sent make a difference")
	}
}
