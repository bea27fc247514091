package waf_test

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestArgumentsByDirective: an instance may have more arguments inspected than a
// thousand; what has more is denied in any case, and attacks at the end are seen.
func TestArgumentsByDirective(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("a=1&", 1500)
	more := testkit.StartEdge(t, guarded(origin(t, noContent), "", `directives: SecArgumentsLimit 2000`))
	usual := testkit.StartEdge(t, guarded(origin(t, noContent), "", ""))
	for _, tt := range []struct {
		name    string
		e       *testkit.Edge
		content string
		want    int
	}{
		{"by default", usual, many + "b=2", 400},
		{"with a directive", more, many + "b=2", 204},
		{"an attack at the end", more, many + attack[2:], 403},
		{"beyond that", more, many + many, 400},
	} {
		if got, body := ask(t, tt.e, "POST", "/", strings.NewReader(tt.content), "Content-Type", "application/x-www-form-urlencoded"); got != tt.want {
			t.Errorf("%s: %d, want %d: %s", tt.name, got, tt.want, body)
		}
	}
}
