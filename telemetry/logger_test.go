package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := NewLogger(&out, level)

	log.Debug("hidden")
	if out.Len() != 0 {
		t.Errorf("debug was logged at level info: %s", out.Bytes())
	}
	level.Set(slog.LevelDebug)
	log.Debug("configuration applied", "took", 1500*time.Millisecond, slog.Group("g", "level", slog.LevelInfo))

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, out.Bytes())
	}
	if _, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil {
		t.Error(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "debug",
		"msg":   "configuration applied",
		"took":  "1.5s",
		"g":     map[string]any{"level": "INFO"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}
