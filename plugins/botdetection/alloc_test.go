//go:build !race

package botdetection_test

import (
	"log/slog"
	"regexp"
	"testing"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/botdetection"
)

func TestAllocations(t *testing.T) {
	built, err := botdetection.New(botdetection.Config{
		Allow: []schema.Pattern{{Regexp: regexp.MustCompile("^Monitor/")}},
		Deny:  []schema.Pattern{{Regexp: regexp.MustCompile("^curl/")}},
	}, plugins.Env{State: new(plugins.State), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		agent string
		like  any // what the exchange is compared with
	}{
		{"Mozilla/5.0", nil},
		{"Monitor/1", nil},
		{"curl/8", testkit.Refusal()},
		{"Googlebot/2.1", testkit.Refusal()},
	}
	for _, tt := range tests {
		t.Run(tt.agent, func(t *testing.T) {
			n := testkit.NewRig(t, built).Extra(t, tt.like, "GET", "/", func(x *l7.Exchange) {
				x.Req.Header.AddField(l7.Field{Name: "User-Agent", Value: tt.agent, ID: l7.FieldUserAgent})
			})
			if n > 0 {
				t.Errorf("%v allocations more than such an exchange costs anyway", n)
			}
		})
	}
}
