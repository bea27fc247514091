//go:build !race

package redirect_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/redirect"
)

func TestAllocations(t *testing.T) {
	built, err := redirect.New(redirect.Config{StatusCode: 301, Location: "http://new.test/"}, plugins.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if n := testkit.NewRig(t, built).Extra(t, nil, "GET", "/shop", func(*l7.Exchange) {}); n > 0 {
		t.Errorf("a fixed redirect allocates %v times more than a forwarded request", n)
	}
}
