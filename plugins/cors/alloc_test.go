//go:build !race

package cors_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/cors"
)

func TestAllocations(t *testing.T) {
	age := 60.0
	built, err := cors.New(cors.Config{
		Origins: []string{"https://a.test", "https://b.test"}, Methods: []string{"GET", "POST"},
		ExposedHeaders: []string{"X-A"}, Credentials: true, MaxAge: &age, AllowOriginAbsent: true,
	}, plugins.Env{})
	if err != nil {
		t.Fatal(err)
	}
	origin := l7.Field{Name: "Origin", Value: "https://b.test:443"}
	method := l7.Field{Name: "Access-Control-Request-Method", Value: "POST"}
	tests := []struct {
		name, method string
		fields       []l7.Field
	}{
		{"simple request", "GET", []l7.Field{origin}},
		{"request without an origin", "GET", nil},
		{"preflight", "OPTIONS", []l7.Field{origin, method}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := testkit.NewRig(t, built).Extra(t, nil, tt.method, "/", func(x *l7.Exchange) {
				for _, f := range tt.fields {
					x.Req.Header.AddField(f)
				}
			})
			if n > 0 {
				t.Errorf("%v allocations more than without the plugin", n)
			}
		})
	}
}
