package proxycache

import (
	"net/netip"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

// TestHitDoesNotAllocate holds the promise for hits: nothing is allocated but
// the text of Age, once a second.
func TestHitDoesNotAllocate(t *testing.T) {
	state := new(plugins.State)
	state.SetCacheBytes(1 << 20)
	built, err := New(Config{
		Strategy: "memory", RequestMethod: []string{"GET"}, ContentType: []string{"text/plain"}, CacheTTL: 300,
		VaryHeaders: []string{"X-Team"}, ResponseHeaders: ResponseHeaders{Age: true, Status: true, Key: true},
	}, plugins.Env{State: state})
	if err != nil {
		t.Fatal(err)
	}
	p := built.(*Plugin)
	x := l7.NewExchange()
	defer x.Release()
	x.Conn = &l4.Info{Client: netip.MustParseAddrPort("192.0.2.1:1"), Local: netip.MustParseAddrPort("192.0.2.2:80")}
	x.Req.Method, x.Req.Authority, x.Path, x.Upstream.Path = "GET", "shop.test:8000", "/a/path", "/a/path"
	x.Upstream.Query, x.Upstream.HasQuery = "y=2&x=1&y=1", true
	x.Req.Header.Add("X-Team", "red")
	x.Req.Header.Add("If-None-Match", `"other"`)

	k := p.keyOf(x, "GET").at(placeOf(x))
	now := sock.Now()
	p.store.put(&entry{key: k, cost: 1, made: now, asked: 1, fresh: 1 << 40, ends: now + 1<<40, etag: `"a"`, hexKey: "key", size: 3, reply: l7.NewReply(200, "text/plain", []byte("one")), notModified: l7.NewReply(304, "", nil)})
	hit := func() {
		if p.Request(x) != l7.Done {
			t.Fatal("not answered from the store")
		}
		p.Response(x)
	}
	hit()
	if status, _ := x.Resp.Header.Get(statusField); status != "Hit" || x.Resp.Size != 3 {
		t.Fatalf("status %q, size %d", status, x.Resp.Size)
	}
	if n := testing.AllocsPerRun(1000, hit); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}
