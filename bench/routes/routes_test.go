package routes

import (
	"bytes"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

func write(t *testing.T, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestWrite loads what is written and finds every route by its host and path.
func TestWrite(t *testing.T) {
	tests := []struct {
		name     string
		o        Options
		services int
		ups      int
	}{
		{"one", Options{Count: 1, Origin: DefaultOrigin}, 1, 0},
		{"a part of a service", Options{Count: 7, Origin: DefaultOrigin}, 2, 0},
		{"many", Options{Count: 1000, Origin: DefaultOrigin}, 200, 6},
		{"at one origin", Options{Count: 1000, Origin: DefaultOrigin, Shared: true}, 200, 0},
		{"with a node", Options{Count: 5, Origin: DefaultOrigin, Node: "node: {status: off}\n", Base: "/x"}, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := write(t, tt.o)
			if !bytes.Equal(text, write(t, tt.o)) {
				t.Error("the same options gave other bytes")
			}
			cfg, err := config.Load(text, catalog.All(), config.Origin{Environ: func() []string { return nil }})
			if err != nil {
				t.Fatal(err)
			}
			if s, r, u := cfg.Services.Len(), cfg.Routes.Len(), cfg.Upstreams.Len(); s != tt.services || r != tt.o.Count || u != tt.ups {
				t.Errorf("%d services, %d routes and %d upstreams, want %d, %d and %d", s, r, u, tt.services, tt.o.Count, tt.ups)
			}
			var list []*l7.Route
			for _, e := range cfg.Routes.All() {
				list = append(list, &l7.Route{Entity: e})
			}
			router, err := l7.NewRouter(list)
			if err != nil {
				t.Fatal(err)
			}
			var m l7.Match
			for n, r := range list {
				if !router.Match(&l7.Query{Method: "GET", Host: HostOf(n), Path: Path(n), Port: 80}, &m) || m.Route != r {
					t.Fatalf("%s%s does not lead to route %d", HostOf(n), Path(n), n)
				}
			}
		})
	}
}

func TestExtra(t *testing.T) {
	o := Options{Count: 10, Origin: DefaultOrigin}
	plain := string(write(t, o))
	o.Extra = "/more"
	if got := strings.Replace(string(write(t, o)), "  - name: extra\n    hosts: [h0.example.com]\n    paths: [/more]\n", "", 1); got != plain {
		t.Errorf("beside the extra route something differs:\n%s", got)
	}
}

func TestWriteErrors(t *testing.T) {
	for name, o := range map[string]Options{
		"none": {Origin: DefaultOrigin}, "too many": {Count: maxCount + 1, Origin: DefaultOrigin}, "no origin": {Count: 1},
	} {
		if err := Write(new(bytes.Buffer), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
