package requestsizelimiting_test

import (
	"strconv"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/requestsizelimiting"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"unit", `{size_unit: gigabytes}`, `expected one of: megabytes, kilobytes, bytes`},
		{"negative", `{allowed_payload_size: -1}`, `config.allowed_payload_size: value should be between 0 and 1099511627776`},
		{"too large", `{allowed_payload_size: 1099511627777}`, `config.allowed_payload_size: value should be between`},
		{"no integer", `{allowed_payload_size: 1.5}`, `config.allowed_payload_size: expected an integer`},
		{"type", `{require_content_length: 1}`, `config.require_content_length: expected a boolean`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: request-size-limiting, config: "+tt.config+"}]", tt.want)
		})
	}
}

// TestUnits holds each unit and the default against one byte less and more.
func TestUnits(t *testing.T) {
	tests := []struct {
		name string
		cfg  requestsizelimiting.Config
		most int64
	}{
		{"default", requestsizelimiting.Config{AllowedPayloadSize: 128, SizeUnit: "megabytes"}, 128 << 20},
		{"kilobytes", requestsizelimiting.Config{AllowedPayloadSize: 3, SizeUnit: "kilobytes"}, 3 << 10},
		{"bytes", requestsizelimiting.Config{AllowedPayloadSize: 5, SizeUnit: "bytes"}, 5},
		{"nothing", requestsizelimiting.Config{SizeUnit: "bytes"}, 0},
		{"the most", requestsizelimiting.Config{AllowedPayloadSize: 1 << 40, SizeUnit: "megabytes"}, 1 << 60},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			built, err := requestsizelimiting.New(tt.cfg, plugins.Env{})
			if err != nil {
				t.Fatal(err)
			}
			rig := testkit.NewRig(t, built)
			for size, status := range map[int64]int{tt.most: 200, tt.most + 1: 413} {
				if got := rig.Serve("POST", "/", "Content-Length: "+strconv.FormatInt(size, 10)); got.Status != status {
					t.Errorf("%d bytes: %d, want %d", size, got.Status, status)
				}
			}
		})
	}
}
