//go:build !race

package waf_test

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/waf"
	"github.com/bulwark-edge/bulwark/rules"
	engine "github.com/bulwark-edge/bulwark/waf"
)

// bare inspects each exchange as the plugin does, and does nothing else.
type bare struct {
	profile *engine.Profile
	slot    l7.Slot[*engine.Inspection]
}

// heads are the fields of a head, as the engine reads them.
type heads struct{ *l7.Header }

func (h heads) At(i int) (name, value string) {
	f := &h.Fields()[i]
	return f.Name, f.Value
}

func (b *bare) Request(x *l7.Exchange) l7.Verdict {
	i := b.profile.Begin(engine.Connection{RequestID: x.ID, Client: netip.AddrPortFrom(x.ClientAddr(), 1), Server: x.Conn.Local, ServerName: x.Host})
	i.RequestHead(&engine.RequestHead{Method: x.Req.Method, Target: x.Req.Target, Proto: "HTTP/1.1", Fields: heads{&x.Req.Header}})
	i.RequestBody(nil, true)
	b.slot.Set(x, i)
	return l7.Next
}

func (b *bare) Response(x *l7.Exchange) l7.Verdict {
	i := b.slot.Get(x)
	i.ResponseHead(&engine.ResponseHead{Status: x.Resp.Status, Proto: "HTTP/1.1", Fields: heads{&x.Resp.Header}})
	i.ResponseBody(nil, true)
	return l7.Next
}

func (b *bare) Log(x *l7.Exchange) { b.slot.Get(x).End() }

// TestAllocations: around an inspection that finds nothing the plugin allocates
// six times at the most.
func TestAllocations(t *testing.T) {
	built, err := waf.New(waf.Config{
		Mode: "block", ParanoiaLevel: 1, RequestDecoding: "decode",
		RequestBody: waf.RequestBody{Inspect: true, Limit: 128 << 10, Beyond: "prefix"},
	}, plugins.Env{
		State: new(plugins.State), Log: slog.New(slog.DiscardHandler),
		Config: &config.Config{Node: config.Node{Log: config.Log{WAF: config.LogOff, WAFAudit: config.LogOff}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := engine.NewRules(w.FS, w.Setup+"\n"+w.Core+"\n")
	if err != nil {
		t.Fatal(err)
	}
	var engines engine.Engines
	e, err := engines.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Profile(engine.Settings{Mode: engine.Block, DecodedRequests: true, ResponseTypes: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	n := testkit.NewRig(t, built).Extra(t, &bare{profile: p}, "GET", "/?q=shoes", func(x *l7.Exchange) {
		x.Req.Header.AddField(l7.Field{Name: "User-Agent", Value: "Mozilla/5.0", ID: l7.FieldUserAgent})
		x.Req.Header.AddField(l7.Field{Name: "Accept", Value: "*/*", ID: l7.FieldAccept})
	})
	if n > 6 {
		t.Errorf("%v allocations beside the inspection", n)
	}
	if err := built.(*waf.Plugin).Close(); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := engines.Close(); err != nil {
		t.Error(err)
	}
}
