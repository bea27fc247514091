//go:build !race

package waf_test

import (
	"log/slog"
	"testing"

	coraza "github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/waf"
	"github.com/bulwark-edge/bulwark/rules"
)

// alone runs Coraza's transaction on each exchange and does nothing else: what it
// is told of the connection is written out beforehand.
type alone struct {
	waf  coraza.WAF
	slot l7.Slot[types.Transaction]
}

func (a *alone) Request(x *l7.Exchange) l7.Verdict {
	tx := a.waf.NewTransactionWithID(x.ID)
	tx.ProcessConnection("192.0.2.7", 41000, "198.51.100.1", 443)
	tx.SetServerName("shop.test")
	tx.ProcessURI(x.Req.Target, x.Req.Method, "HTTP/1.1")
	for _, f := range x.Req.Header.Fields() {
		tx.AddRequestHeader(f.Name, f.Value)
	}
	tx.ProcessRequestHeaders()
	_, _ = tx.ProcessRequestBody() // without content nothing can fail
	a.slot.Set(x, tx)
	return l7.Next
}

func (a *alone) Response(x *l7.Exchange) l7.Verdict {
	tx := a.slot.Get(x)
	for _, f := range x.Resp.Header.Fields() {
		tx.AddResponseHeader(f.Name, f.Value)
	}
	tx.ProcessResponseHeaders(x.Resp.Status, "HTTP/1.1")
	_, _ = tx.ProcessResponseBody() // as above
	return l7.Next
}

func (a *alone) Log(x *l7.Exchange) {
	tx := a.slot.Get(x)
	tx.ProcessLogging()
	_ = tx.Close() // it has no files to close
}

// maxExtra is how many allocations the plugin may cost over Coraza's own
// transaction, from the connection to the log.
const maxExtra = 10

// TestAllocations holds an exchange in which nothing matches against Coraza's
// transaction alone, with the heads of the requests that the bars are for. What
// their contents add is Coraza's own (TestAllocationsOverCoraza of the engine).
func TestAllocations(t *testing.T) {
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(w.FS).WithDirectives(w.Directives))
	if err != nil {
		t.Fatal(err)
	}
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
	for _, c := range []struct{ method, target, contentType string }{
		{"GET", "/?q=shoes", ""},
		{"POST", "/checkout", "application/x-www-form-urlencoded"},
	} {
		n := testkit.NewRig(t, built).Extra(t, &alone{waf: theirs}, c.method, c.target, func(x *l7.Exchange) {
			x.Req.Header.AddField(l7.Field{Name: "User-Agent", Value: "Mozilla/5.0", ID: l7.FieldUserAgent})
			x.Req.Header.AddField(l7.Field{Name: "Accept", Value: "*/*", ID: l7.FieldAccept})
			if c.contentType != "" {
				x.Req.Header.AddField(l7.Field{Name: "Content-Type", Value: c.contentType, ID: l7.FieldContentType})
				x.Req.Header.AddField(l7.Field{Name: "Content-Length", Value: "0", ID: l7.FieldContentLength})
			}
		})
		t.Logf("%s %s: %v more allocations than Coraza alone", c.method, c.target, n)
		if n > maxExtra {
			t.Errorf("%s %s: %v allocations beside Coraza's own", c.method, c.target, n)
		}
	}
	if err := built.(*waf.Plugin).Close(); err != nil {
		t.Error(err)
	}
	if err := theirs.(experimental.WAFCloser).Close(); err != nil {
		t.Error(err)
	}
}
