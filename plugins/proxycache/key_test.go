package proxycache_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// ask sends a request head, given as its lines, and returns the content of the
// answer and what the cache says.
func ask(t *testing.T, addr string, lines ...string) (content, status string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	_, _ = io.WriteString(c, strings.Join(lines, "\r\n")+"\r\nHost: shop.test\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.Header.Get("X-Cache-Status")
}

// TestNothingForeign asks twice, where the upstream answers the second request
// otherwise than the first: what the first one was answered must not serve it.
func TestNothingForeign(t *testing.T) {
	const transformer = "{name: request-transformer, config: %s}, "
	tests := []struct {
		name          string
		before        string // configuration of a request-transformer
		config        string // of the cache
		vary          string // of the answers
		first, second []string
	}{
		{
			name: "an escaped name", config: ", vary_query_params: [id]",
			first: []string{"GET /?%69d=666 HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
		{
			name: "an escaped name before the plain one", config: ", vary_query_params: [id]",
			first: []string{"GET /?%69d=666&id=1 HTTP/1.1"}, second: []string{"GET /?id=1&%69d=666 HTTP/1.1"},
		},
		{
			name: "a space", config: ", vary_query_params: ['my id']",
			first: []string{"GET /?my+id=666 HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
		{
			name: "a semicolon", config: ", vary_query_params: [id]",
			first: []string{"GET /?a=1;id=666 HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
		{
			name: "a broken escape", config: ", vary_query_params: [id]",
			first: []string{"GET /?i%d=666 HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
		{
			name: "a nominated field", config: ", vary_headers: [X-Team]",
			first:  []string{"GET / HTTP/1.1", "X-Team: b", "Connection: X-Team"},
			second: []string{"GET / HTTP/1.1", "X-Team: b"},
		},
		{
			name: "a nominated field in Vary", vary: "X-Team",
			first:  []string{"GET / HTTP/1.1", "X-Team: b", "Connection: X-Team"},
			second: []string{"GET / HTTP/1.1", "X-Team: b"},
		},
		{
			name: "a host of an argument", before: `{replace: {headers: ["host:$(query_params.t).internal"]}, remove: {querystring: [t]}}`,
			first: []string{"GET /?t=one HTTP/1.1"}, second: []string{"GET /?t=two HTTP/1.1"},
		},
		{
			name: "a host of a field", before: `{replace: {headers: ["host:$(headers['x-t']).internal"]}}`,
			first: []string{"GET / HTTP/1.1", "X-T: one"}, second: []string{"GET / HTTP/1.1", "X-T: two"},
		},
		{
			name: "a field of an argument", before: `{add: {headers: ["X-Team:$(query_params.t)"]}, remove: {querystring: [t]}}`,
			first: []string{"GET /?t=one HTTP/1.1"}, second: []string{"GET /?t=two HTTP/1.1"},
		},
		{
			name: "a field of a field", before: `{remove: {headers: [X-Team]}, add: {headers: ["X-Team:$(headers['x-t'])"]}}`,
			first: []string{"GET / HTTP/1.1", "X-T: one"}, second: []string{"GET / HTTP/1.1", "X-T: two"},
		},
		{
			name: "a made field that is in the request", before: `{replace: {headers: ["X-Team:$(headers['x-t'])"]}}`,
			first:  []string{"GET / HTTP/1.1", "X-T: one", "X-Team: one"},
			second: []string{"GET / HTTP/1.1", "X-T: two", "X-Team: two"},
		},
		{
			name: "a made agent", before: `{replace: {headers: ["User-Agent:$(headers['x-t'])"]}, remove: {headers: [X-T]}}`,
			first:  []string{"GET / HTTP/1.1", "User-Agent: a", "X-T: one"},
			second: []string{"GET / HTTP/1.1", "User-Agent: a", "X-T: two"},
		},
		{
			name: "content", before: `{add: {body: ["u:$(headers['x-t'])"]}}`,
			first:  []string{"GET / HTTP/1.1", "X-T: one", "Content-Type: application/json"},
			second: []string{"GET / HTTP/1.1", "X-T: two", "Content-Type: application/json"},
		},
		{
			name:  "the path as it was written",
			first: []string{"GET /a/../b HTTP/1.1"}, second: []string{"GET /b HTTP/1.1"},
		},
		{
			name: "Vary: X-Real-IP", vary: "X-Real-IP",
			first: []string{"GET / HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
		{
			name: "Vary: X-Forwarded-For", vary: "Accept, X-Forwarded-For",
			first: []string{"GET / HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
		{name: "Vary: Via", vary: "Via", first: []string{"GET / HTTP/1.1"}, second: []string{"GET / HTTP/1.1"}},
		{
			name: "Vary: X-Kong-Request-Id", vary: "x-kong-request-id",
			first: []string{"GET / HTTP/1.1"}, second: []string{"GET / HTTP/1.1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				if tt.vary != "" {
					w.Header().Set("Vary", tt.vary)
				}
				b, _ := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %s %s %q %s", r.Host, r.URL, r.Header.Get("X-Team"), b, r.Header.Get("X-Kong-Request-Id"))
			})
			cfg := o.config("", tt.config)
			if tt.before != "" {
				cfg = strings.Replace(cfg, "plugins: [", "plugins: ["+fmt.Sprintf(transformer, tt.before), 1)
			}
			addr := testkit.StartEdge(t, cfg).At("http").String()
			ask(t, addr, tt.first...)
			if content, status := ask(t, addr, tt.second...); status == "Hit" {
				t.Errorf("answered with what is stored of another request: %s", content)
			}
		})
	}
}

// TestStillTheSame asks twice for what is the same although it is not written
// the same: the second request is a hit.
func TestStillTheSame(t *testing.T) {
	tests := []struct {
		name          string
		before        string
		config        string
		first, second []string
	}{
		{name: "the order of arguments", first: []string{"GET /?b=2&a=1 HTTP/1.1"}, second: []string{"GET /?a=1&b=2 HTTP/1.1"}},
		{
			name: "an argument that does not count", config: ", vary_query_params: [id]",
			first: []string{"GET /?id=1&%75tm=1 HTTP/1.1"}, second: []string{"GET /?id=1 HTTP/1.1"},
		},
		{
			name: "an edited header", before: `{add: {headers: ["X-Team:red"]}}`,
			first:  []string{"GET / HTTP/1.1", "User-Agent: a"},
			second: []string{"GET / HTTP/1.1", "User-Agent: b", `If-None-Match: "x"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "one") })
			cfg := o.config("", tt.config)
			if tt.before != "" {
				cfg = strings.Replace(cfg, "plugins: [", "plugins: [{name: request-transformer, config: "+tt.before+"}, ", 1)
			}
			addr := testkit.StartEdge(t, cfg).At("http").String()
			ask(t, addr, tt.first...)
			if _, status := ask(t, addr, tt.second...); status != "Hit" {
				t.Errorf("status %q, want Hit", status)
			}
		})
	}
}
