//go:build !race

package requestsizelimiting_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/requestsizelimiting"
)

func TestAllocations(t *testing.T) {
	built, err := requestsizelimiting.New(requestsizelimiting.Config{AllowedPayloadSize: 1, SizeUnit: "kilobytes", RequireContentLength: true}, plugins.Env{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		size int64
		has  bool
		like any
	}{
		{"small", 1024, true, nil},
		{"large", 1025, true, testkit.Refusal()},
		{"no length", -1, false, testkit.Refusal()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := testkit.NewRig(t, built).Extra(t, tt.like, "POST", "/", func(x *l7.Exchange) {
				x.Req.ContentLength = tt.size
				if tt.has {
					x.Req.Header.AddField(l7.Field{Name: "Content-Length", Value: "1", ID: l7.FieldContentLength})
				}
			})
			if n > 0 {
				t.Errorf("%v allocations more than such an exchange costs anyway", n)
			}
		})
	}
}
