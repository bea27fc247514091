package edge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
)

// reloads is how often the storm swaps the configuration.
const reloads = 200

// variants are the configurations a storm goes round: routes, listeners,
// plugins and the access log change.
func variants(dir, origin string) []string {
	node := func(listeners, log string) string {
		return fmt.Sprintf("node:\n  status: off\n  drain: 5s\n  log: {access: %q}\n  listeners:\n    - {name: http, address: \"127.0.0.1:0\"}\n%s", log, listeners)
	}
	extra := "    - {name: extra, address: \"127.0.0.1:0\", serve: https}\n"
	routes := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "      - {name: r%d, paths: [/r%d], hosts: [h%d.test]}\n", i, i, i)
		}
		return b.String()
	}
	service := func(more, plugins string) string {
		return fmt.Sprintf("services:\n  - name: shop\n    url: http://%s\n    routes:\n      - {name: shop, paths: [/]}\n%s%s", origin, more, plugins)
	}
	one, two := filepath.Join(dir, "one.log"), filepath.Join(dir, "two.log")
	return []string{
		node("", one) + service("", ""),
		node(extra, one) + service(routes(50), ""),
		node("", two) + service(routes(1), "plugins: [{name: correlation-id, config: {generator: uuid}}]\n"),
		node(extra, "off") + service("", "plugins: [{name: correlation-id, config: {header_name: X-Id}}, {name: ip-restriction, config: {deny: [192.0.2.1]}}]\n"),
	}
}

func TestReloadStorm(t *testing.T) {
	before := testkit.Goroutines()
	t.Run("storm", func(t *testing.T) {
		all := variants(t.TempDir(), startOrigin(t))
		e := testkit.StartEdge(t, all[0])
		l := startLoad(e.At("http").String(), 4, 2)
		for i := 1; i <= reloads; i++ {
			if err := e.Use(all[i%len(all)]); err != nil {
				t.Errorf("reload %d: %v", i, err)
				break
			}
			if i%len(all) == 1 {
				checkExtra(t, e)
			}
			l.more(t, 10)
		}
		l.end(t)
		t.Logf("%d requests over %d reloads", l.done.Load(), reloads)
	})
	if left := testkit.Leaked(before); len(left) > 0 {
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	}
}

// checkExtra connects to the listener that some variants have.
func checkExtra(t *testing.T, e *testkit.Edge) {
	t.Helper()
	c, err := net.Dial("tcp", e.At("extra").String())
	if err != nil {
		t.Errorf("connecting to the added listener: %v", err)
		return
	}
	c.Close()
}

// TestReloadFile swaps the file for another one as an editor or a deployment
// does, by a rename.
func TestReloadFile(t *testing.T) {
	dir := t.TempDir()
	all := variants(t.TempDir(), startOrigin(t)) // the logs are not beside the watched file
	path := filepath.Join(dir, "bulwark.yaml")
	write := func(i int) {
		t.Helper()
		next := filepath.Join(dir, "next.yaml")
		text := fmt.Sprintf("_format_version: \"3.0\"\n%s", all[i%len(all)]+fmt.Sprintf("consumers: [{username: c%d}]\n", i))
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	e := testkit.StartEdge(t, all[0])
	write(0)
	store, err := file.New(path, catalog.All(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Reload(t.Context(), store.Load); err != nil {
		t.Fatal(err)
	}
	l := startLoad(e.At("http").String(), 2, 1)
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	go func() {
		watching <- store.Watch(ctx, func() {
			if err := e.Reload(ctx, store.Load); err != nil {
				t.Errorf("reloading: %v", err)
			}
		})
	}()
	for i := 1; i <= 10; i++ {
		write(i)
		eventually(t, fmt.Sprintf("file %d to serve", i), func() bool {
			_, ok := e.Current().Config.Consumers.Lookup(fmt.Sprintf("c%d", i))
			return ok
		})
	}
	cancel()
	if err := <-watching; err != nil {
		t.Errorf("watching: %v", err)
	}
	l.end(t)
}

func TestReloadErrors(t *testing.T) {
	origin := startOrigin(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	status := "node:\n  status: 127.0.0.1:0\n"
	tests := []struct{ name, config, want string }{
		{"broken entity", status + shop(origin) + "plugins: [{name: correlation-id, config: {generator: dice}}]\n", "generator"},
		{"no yaml", "services: [", "yaml"},
		{"address in use", fmt.Sprintf("node:\n  status: 127.0.0.1:0\n  listeners:\n    - {name: http, address: \"127.0.0.1:0\"}\n    - {name: second, address: %q}\n", taken.Addr()) + shop(origin), "another process has it"},
		{"log that cannot be opened", "node:\n  status: 127.0.0.1:0\n  log: {access: /nowhere/at/all.log}\n" + shop(origin), "opening node.log.access"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := testkit.StartEdge(t, status+shop(origin))
			serving := e.Current()
			c := dial(t, e.At("http").String())
			r := bufio.NewReader(c)
			if err := e.Use(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("the reload's error is %v, want one with %q", err, tt.want)
			}
			if e.Current() != serving {
				t.Error("the old configuration does not serve any more")
			}
			if _, err := ask(c, r, request); err != nil {
				t.Errorf("asking after the reload: %v", err)
			}
			if got := lastError(t, e); !strings.Contains(got, tt.want) {
				t.Errorf("/status tells %q, want %q in it", got, tt.want)
			}
			if err := e.Use(status + shop(origin)); err != nil {
				t.Fatal(err)
			}
			if got := lastError(t, e); got != "" {
				t.Errorf("/status tells %q after a reload that was right", got)
			}
		})
	}
}

// lastError returns what /status tells of the last reload.
func lastError(t *testing.T, e *testkit.Edge) string {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + e.StatusAddr().String() + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct {
		Bulwark struct {
			Config struct {
				LastError string `json:"last_error"`
			}
		}
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &body); err != nil {
		t.Fatalf("reading /status %q: %v", b, err)
	}
	return body.Bulwark.Config.LastError
}
