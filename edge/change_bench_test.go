package edge

import (
	"bytes"
	"testing"

	"github.com/bulwark-edge/bulwark/bench/routes"
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
)

// changeText is the file of the working size: 15,000 routes of 3,000 services,
// and one route more at the path extra, if that is not "".
func changeText(tb testing.TB, extra string) string {
	tb.Helper()
	var b bytes.Buffer
	o := routes.Options{Count: routes.DefaultCount, Origin: routes.DefaultOrigin, Node: "node: {status: off, log: {access: off}, listeners: []}\n", Extra: extra}
	if err := routes.Write(&b, o); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// BenchmarkChangeRoute15k is what a change of one route among 15,000 costs,
// from the decoded configuration to the first route found by what was compiled:
// all of it, and its parts.
func BenchmarkChangeRoute15k(b *testing.B) {
	env := newEnv(b)
	one, two := loadText(b, changeText(b, "/one")), loadText(b, changeText(b, "/two"))
	prev := compileAll(b, one, env)
	other, changed := two.Adopt(prev.Config)
	compile := func(b *testing.B, cfg *config.Config, changed []config.Key, prev *Snapshot) *Snapshot {
		s, err := Compile(cfg, changed, prev, env)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		s, next := prev, [2]*config.Config{two, one}
		for i := 0; b.Loop(); i++ {
			cfg, changed := next[i%2].Adopt(s.Config)
			s = compile(b, cfg, changed, s)
			q := l7.Query{Method: "GET", Host: routes.HostOf(0), Path: "/one", Port: 80}
			var m l7.Match
			s.router.Match(&q, &m)
		}
	})
	b.Run("adopt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			two.Adopt(prev.Config)
		}
	})
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compile(b, other, changed, prev)
		}
	})
	b.Run("router", func(b *testing.B) {
		b.ReportAllocs()
		list := make([]*l7.Route, len(prev.routes))
		copy(list, prev.routes)
		for b.Loop() {
			if _, err := l7.NewRouter(list); err != nil {
				b.Fatal(err)
			}
		}
	})
}
