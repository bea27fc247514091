package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

// Version is what edges in tests say they are.
const Version = "test"

// drainTime bounds the end of an edge in a test.
const drainTime = 10 * time.Second

// kinds is the catalog, made once for all edges of a test: deriving the schemas
// anew for each is a tenth of what golden scripts cost.
var kinds = sync.OnceValue(catalog.All)

// Edge is a running edge with the listeners http and https on free ports of
// 127.0.0.1, unless its configuration says otherwise.
type Edge struct {
	*edge.Edge
	Log *Log // what it says of itself

	access string
	end    sync.Once
}

// StartEdge starts an edge; the test's end shuts it down.
func StartEdge(t testing.TB, yaml string) *Edge {
	t.Helper()
	log := new(Log)
	e, err := edge.New(edge.Options{
		Kinds: kinds(), Version: Version,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Edge{Edge: e, Log: log, access: filepath.Join(t.TempDir(), "access.log")}
	t.Cleanup(s.Stop)
	if err := s.Use(yaml); err != nil {
		t.Fatal(err)
	}
	return s
}

// Stop shuts the edge down. It may be called again.
func (e *Edge) Stop() {
	e.end.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		_ = e.Shutdown(ctx) // only the status listener can have had trouble
	})
}

// Use lets the edge serve another configuration.
func (e *Edge) Use(yaml string) error {
	return e.Reload(context.Background(), func() (*config.Config, error) { return e.Load(yaml) })
}

// Load reads a configuration as Use does.
func (e *Edge) Load(yaml string) (*config.Config, error) {
	full, err := Complete(yaml, e.access)
	if err != nil {
		return nil, err
	}
	return config.Load(full, kinds(), config.Origin{})
}

// Complete adds to a configuration what every test wants: listeners on free
// ports, no status listener, and the access log and the WAF's in files. What the
// configuration says itself is kept.
func Complete(src, accessLog string) ([]byte, error) {
	doc := make(map[string]any)
	if err := yaml.Unmarshal([]byte(src), &doc); err != nil {
		return nil, fmt.Errorf("reading the configuration of a test: %w", err)
	}
	node, _ := doc["node"].(map[string]any)
	if node == nil {
		node = make(map[string]any)
	}
	preset(node, "status", "off")
	preset(node, "log", map[string]any{"access": accessLog, "waf": accessLog + wafSuffix})
	preset(node, "listeners", []any{
		map[string]any{"name": "http", "address": "127.0.0.1:0", "serve": "http"},
		map[string]any{"name": "https", "address": "127.0.0.1:0", "serve": "https"},
	})
	doc["node"] = node
	preset(doc, "_format_version", "3.0")
	return yaml.Marshal(doc)
}

func preset(m map[string]any, key string, value any) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}

// Port returns the port of a listener.
func (e *Edge) Port(listener string) uint16 { return e.At(listener).Port() }

// At returns where a listener is bound.
func (e *Edge) At(listener string) netip.AddrPort {
	addr, ok := e.Addr(listener)
	if !ok {
		panic("BUG: the test's edge has no listener " + listener)
	}
	return addr
}

// AccessLog returns the lines of the access log so far. They are written some
// time after the exchange; those of a stopped edge are complete.
func (e *Edge) AccessLog() []string {
	b, err := os.ReadFile(e.access)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// wafSuffix is what the WAF's log has behind the access log's name.
const wafSuffix = ".waf"

// WAFLog returns the lines of the WAF's log so far, as AccessLog does.
func (e *Edge) WAFLog() []string {
	b, err := os.ReadFile(e.access + wafSuffix)
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// Log gathers text that goroutines write.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*Log)(nil)

// Write adds p.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns all there is.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
