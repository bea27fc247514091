package traffic_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/crs"
	"github.com/bulwark-edge/bulwark/internal/testkit/traffic"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// defended is an edge with the WAF's defaults in front of a server that is
// content with everything: but for methods that change things, which are
// allowed where they are wanted, and for GraphQL with its pack.
const defended = `
node:
  listeners: [{name: http, address: "127.0.0.1:0", serve: http}]
  log: {level: warn, access: "off", waf: %q, waf_format: modsecurity}
services:
  - name: origin
    url: http://%s
    routes:
      - {name: all, paths: [/]}
      - name: rest
        paths: [/v1]
        methods: [PUT, PATCH, DELETE]
        plugins: [{name: waf, config: {allowed_methods: [PUT, PATCH, DELETE]}}]
      - name: graphql
        paths: [/graphql]
        plugins: [{name: waf, config: {packs: [graphql]}}]
plugins:
  - name: waf
    config: {%s}
`

// excluding lets pass what traffic.Excluded has.
const excluding = `exclusions: [
  {rules: ["942290"], target: "ARGS_NAMES:/^\\$/", paths: [/odata]},
  {rules: ["930130"], paths: [/example/site.git]},
  {rules: ["932235", "932260", "934170", "941130", "941170"], target: "ARGS:json.image"},
  {rules: ["920420"], paths: [/csp]}]`

// TestOrdinaryPasses: at paranoia level 1 nothing ordinary is blocked.
func TestOrdinaryPasses(t *testing.T) {
	requests, err := traffic.Ordinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range send(t, requests, "") {
		if s.sent.Status != http.StatusOK {
			t.Errorf("%s: status %d, %v, rules %v", s.sent.Test, s.sent.Status, s.sent.Err, s.rules)
		}
	}
}

// TestExcludedPasses: what the rule set denies of ordinary requests passes with
// exclusions, and only with them.
func TestExcludedPasses(t *testing.T) {
	requests, err := traffic.Excluded()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range send(t, requests, "") {
		if s.sent.Status != http.StatusForbidden {
			t.Errorf("%s, without exclusions: status %d, %v, rules %v", s.sent.Test, s.sent.Status, s.sent.Err, s.rules)
		}
	}
	for _, s := range send(t, requests, excluding) {
		if s.sent.Status != http.StatusOK {
			t.Errorf("%s: status %d, %v, rules %v", s.sent.Test, s.sent.Status, s.sent.Err, s.rules)
		}
	}
}

// TestAttacksAreBlocked: each is answered 403, and the log names the rules and
// the one that has decided; or 400, by a rule or before any.
func TestAttacksAreBlocked(t *testing.T) {
	requests, err := traffic.Attacks()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range send(t, requests, "") {
		switch s.sent.Status {
		case http.StatusForbidden:
			if len(s.rules) < 2 || !slices.Contains(s.rules, 949110) {
				t.Errorf("%s: the log has the rules %v", s.sent.Test, s.rules)
			}
		case http.StatusBadRequest:
		default:
			t.Errorf("%s: status %d, %v, rules %v", s.sent.Test, s.sent.Status, s.sent.Err, s.rules)
		}
	}
}

// outcome is what has come of one request, and what the log says of it.
type outcome struct {
	sent  crs.Sent
	rules []int
}

// send sends requests to an edge, each on a connection of its own.
func send(t *testing.T, requests []traffic.Request, config string) []outcome {
	t.Helper()
	log := filepath.Join(t.TempDir(), "waf.log")
	e := testkit.StartEdge(t, fmt.Sprintf(defended, log, startOrigin(t, http.HandlerFunc(content)), config))
	var tests []crs.Test
	for _, r := range requests {
		tests = append(tests, crs.Test{ID: r.Kind + "/" + r.Name, Stages: []crs.Stage{{Input: crs.Input{Raw: r.Bytes}}}})
	}
	sent := (&crs.Runner{Address: e.At("http").String(), Workers: 4}).Run(t.Context(), tests)
	e.Stop() // So the log is complete.
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := crs.ReadLines(string(text))
	var all []outcome
	for _, s := range sent {
		all = append(all, outcome{s, crs.IDs(lines[s.Client])})
	}
	return all
}

// content answers everything with a page.
func content(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!doctype html><title>Shop</title><p>Welcome")
}

// startOrigin starts a server; the test's end stops it.
func startOrigin(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
