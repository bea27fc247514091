package waf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestExample runs examples/waf.yaml, with another origin and its log elsewhere.
func TestExample(t *testing.T) {
	src, err := os.ReadFile("../../examples/waf.yaml")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "waf.log")
	yaml := strings.NewReplacer("127.0.0.1:9000", origin(t, noContent), `":8000"`, `"127.0.0.1:0"`, "/var/log/bulwark/waf.log", log).Replace(string(src))
	e := testkit.StartEdge(t, yaml)
	const sqli = "1%27%20UNION%20SELECT%20password%20FROM%20users--%20-"
	for _, tt := range []struct {
		method, target string
		want           int
	}{
		{"GET", "/", 204},
		{"GET", attack, 403},
		{"GET", "/search?q=" + sqli, 204},
		{"GET", "/search?page=" + sqli, 403},
		{"DELETE", "/api/1", 204},
		{"DELETE", "/1", 403},
		{"GET", "/webhook?q=" + sqli, 204},
	} {
		if got, _ := ask(t, e, tt.method, tt.target, nil); got != tt.want {
			t.Errorf("%s %s is answered with %d, want %d", tt.method, tt.target, got, tt.want)
		}
	}
	e.Stop()
	b, err := os.ReadFile(log)
	if err != nil || strings.Count(string(b), "\n") < 4 {
		t.Errorf("the log is %q: %v", b, err)
	}
}
