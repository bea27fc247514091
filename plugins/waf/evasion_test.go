package waf_test

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestEvasions: no field that a client may add keeps content from the rules.
func TestEvasions(t *testing.T) {
	e := testkit.StartEdge(t, guarded(origin(t, noContent), "", "request_body: {beyond: prefix}, allowed_content_types: [application/x-www-form-urlencoded, application/grpcx, application/grpc+proto]"))
	const form = "application/x-www-form-urlencoded"
	content := "q=<script>alert(1)</script>&x="
	for _, tt := range []struct {
		name, content string
		want          int
		fields        []string
	}{
		{"upgrade", content, 403, []string{"Content-Type", form, "Connection", "Upgrade", "Upgrade", "foo"}},
		{"no gzip", content + strings.Repeat("x", 140<<10), 400, []string{"Content-Type", form, "Content-Encoding", "gzip"}},
		{"no gzip twice", content + strings.Repeat("x", 140<<10), 400, []string{"Content-Type", form, "Content-Encoding", "gzip, gzip"}},
		{"nearly gRPC", content, 403, []string{"Content-Type", "application/grpcX"}},
		{"gRPC", content, 204, []string{"Content-Type", "application/grpc+proto"}},
	} {
		if got, body := ask(t, e, "POST", "/", strings.NewReader(tt.content), tt.fields...); got != tt.want {
			t.Errorf("%s: %d, want %d: %s", tt.name, got, tt.want, body)
		}
	}
}
