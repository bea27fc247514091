//go:build !race

package correlationid_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/correlationid"
)

func TestAllocations(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  correlationid.Config
		most float64
	}{
		{"the id itself", correlationid.Config{HeaderName: "Kong-Request-ID", Generator: "uuid#counter"}, 1},
		{"and the place where the answer finds it", correlationid.Config{HeaderName: "Kong-Request-ID", Generator: "uuid#counter", EchoDownstream: true}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built, err := correlationid.New(tt.cfg, plugins.Env{})
			if err != nil {
				t.Fatal(err)
			}
			if n := testkit.NewRig(t, built).Extra(t, nil, "GET", "/", func(*l7.Exchange) {}); n > tt.most {
				t.Errorf("%v allocations more than without the plugin, want at most %v", n, tt.most)
			}
		})
	}
}
