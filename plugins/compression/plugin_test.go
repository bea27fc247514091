package compression_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"algorithm", `{algorithms: [deflate]}`, `algorithms`},
		{"no algorithm", `{algorithms: []}`, `algorithms`},
		{"no type", `{content_types: []}`, `content_types`},
		{"no media type", `{content_types: [text]}`, `invalid value: text`},
		{"media type with parameters", `{content_types: ["text/html; charset=utf-8"]}`, `invalid value: text/html`},
		{"length", `{min_length: -1}`, `min_length`},
		{"level of zstd", `{levels: {zstd: 4}}`, `config.levels.zstd`},
		{"level of br", `{levels: {br: 7}}`, `config.levels.br`},
		{"level of gzip", `{levels: {gzip: 0}}`, `config.levels.gzip`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: compression, config: "+tt.config+"}]", tt.want)
		})
	}
}

// decoder returns a reader of what a coding's content says.
func decoder(t *testing.T, coding string, r io.Reader) io.Reader {
	t.Helper()
	switch coding {
	case "zstd":
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	case "br":
		return brotli.NewReader(r)
	}
	d, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// start starts an edge in front of an upstream that serves content in pieces.
func start(t *testing.T, cfg string, serve func(http.ResponseWriter, *http.Request)) *testkit.Edge {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(serve)}
	addr := startHTTP(t, server)
	return testkit.StartEdge(t, strings.ReplaceAll(`
services:
  - name: shop
    url: http://UPSTREAM
    plugins: [{name: compression, config: `+cfg+`}]
    routes: [{name: shop, paths: [/]}]
`, "UPSTREAM", addr))
}

func startHTTP(t *testing.T, server *http.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Close(); <-done })
	return ln.Addr().String()
}

func get(t *testing.T, client *http.Client, e *testkit.Edge, coding string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+e.At("http").String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", coding)
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Encoding"); got != coding {
		t.Fatalf("Content-Encoding %q, want %q", got, coding)
	}
	return resp
}

// TestRoundTrip holds what decoders make of compressed content against what the
// upstream has sent, at every level.
func TestRoundTrip(t *testing.T) {
	content := make([]byte, 300<<10)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = "abcdefgh"[random.IntN(8)]
	}
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	for _, levels := range []string{"{zstd: 1, br: 0, gzip: 1}", "{zstd: 2, br: 4, gzip: 5}", "{zstd: 3, br: 6, gzip: 9}"} {
		e := start(t, "{levels: "+levels+"}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(content)
		})
		for _, coding := range []string{"zstd", "br", "gzip"} {
			for range 2 { // the second time with an encoder that was used
				resp := get(t, client, e, coding)
				got, err := io.ReadAll(decoder(t, coding, resp.Body))
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%s at %s: %d bytes, %v; want %d", coding, levels, len(got), err, len(content))
				}
			}
		}
	}
}

// TestFlush proves that a stream stays live: what the upstream has sent reaches
// the client decoded, while the upstream waits for the test.
func TestFlush(t *testing.T) {
	for _, coding := range []string{"zstd", "br", "gzip"} {
		t.Run(coding, func(t *testing.T) {
			next := make(chan string, 1)
			next <- "first"
			e := start(t, "{}", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				for s := range next {
					_, _ = io.WriteString(w, s)
					w.(http.Flusher).Flush()
				}
			})
			client := &http.Client{Transport: new(http.Transport), Timeout: 8 * time.Second}
			defer client.CloseIdleConnections()
			defer close(next)
			d := decoder(t, coding, get(t, client, e, coding).Body)
			b := make([]byte, 5)
			for _, want := range []string{"first", "other", "third"} {
				if want != "first" {
					next <- want
				}
				if _, err := io.ReadFull(d, b); err != nil || string(b) != want {
					t.Fatalf("read %q, %v; want %q", b, err, want)
				}
			}
		})
	}
}
