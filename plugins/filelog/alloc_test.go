//go:build !race

package filelog_test

import (
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/filelog"
	"github.com/bulwark-edge/bulwark/telemetry"
)

func TestAllocations(t *testing.T) {
	env := plugins.Env{State: new(plugins.State), Metrics: telemetry.NewMetrics(telemetry.Options{}), Log: slog.New(slog.DiscardHandler)}
	built, err := filelog.New(filelog.Config{Path: filepath.Join(t.TempDir(), "file.log")}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := built.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	n := testkit.NewRig(t, built).Extra(t, nil, "GET", "/shop?a=1", func(x *l7.Exchange) {
		x.Req.Header.AddField(l7.Field{Name: "User-Agent", Value: "test", ID: l7.FieldUserAgent})
	})
	if n > 0 {
		t.Errorf("%v allocations more than without the plugin", n)
	}
}
