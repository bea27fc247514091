package waf_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// attack is a target that the Core Rule Set blocks.
const attack = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--%20-"

// patience bounds waits that end at once unless something is wrong.
const patience = 2 * time.Minute

// guarded is a configuration with the plugin in front of an origin. node and
// plugin are YAML in flow style, without braces.
func guarded(origin, node, plugin string) string {
	return fmt.Sprintf(`
node: {%s}
services:
  - name: shop
    url: http://%s
    plugins: [{name: waf, config: {%s}}]
    routes: [{name: shop-route, paths: [/]}]
`, node, origin, plugin)
}

// origin answers every request on every connection with answer, after its content.
func origin(t *testing.T, answer string) string {
	t.Helper()
	return testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

const noContent = "HTTP/1.1 204 No Content\r\n\r\n"

// ask sends one request on a connection of its own and returns the answer.
func ask(t *testing.T, e *testkit.Edge, method, target string, body io.Reader, fields ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+e.At("http").String()+target, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "test")
	req.Header.Set("Accept", "*/*")
	req.Host = "shop.test"
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func wantStatus(t *testing.T, e *testkit.Edge, target string, want int) {
	t.Helper()
	if got, body := ask(t, e, "GET", target, nil); got != want {
		t.Errorf("GET %s is answered with %d, want %d: %s", target, got, want, body)
	}
}

// scrape returns what /metrics tells, by series.
func scrape(t *testing.T, m *telemetry.Metrics) map[string]string {
	t.Helper()
	series := make(map[string]string)
	for line := range strings.Lines(scrapeText(t, m)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			series[name] = value
		}
	}
	return series
}

// TestEvents shows what is told of exchanges: in the log, by numbers, and in the
// access log.
func TestEvents(t *testing.T) {
	e := testkit.StartEdge(t, guarded(origin(t, noContent), "", ""))
	wantStatus(t, e, "/?q=shoes", 204)
	wantStatus(t, e, attack+"&password=hunter22", 403)
	if n := scrape(t, e.Metrics())[`bulwark_waf_rules_info{name="OWASP_CRS",version="4.25.0"}`]; n != "1" {
		t.Errorf("of the rules that serve the metrics tell %q", n)
	}
	e.Stop() // from then on all is told
	series := scrape(t, e.Metrics())
	for name, want := range map[string]string{
		`bulwark_waf_inspected_requests_total`:                  "2",
		`bulwark_waf_blocked_requests_total{part="request"}`:    "1",
		`bulwark_waf_blocked_requests_total{part="response"}`:   "0",
		`bulwark_waf_rule_matches_total{rule="949110"}`:         "1",
		`bulwark_waf_score_bucket{direction="inbound",le="0"}`:  "1",
		`bulwark_waf_score_bucket{direction="inbound",le="50"}`: "2",
		`bulwark_waf_engines_active`:                            "0", `bulwark_waf_panics_total`: "0",
		`bulwark_waf_rules_info{name="OWASP_CRS",version="4.25.0"}`: "", // none serve any more
	} {
		if series[name] != want {
			t.Errorf("%s is %q, want %s", name, series[name], want)
		}
	}
	lines := e.WAFLog()
	if len(lines) != 1 {
		t.Fatalf("the log has %d lines, want 1", len(lines))
	}
	var event struct {
		RequestID string `json:"request_id"`
		Route     string
		Service   string
		Action    string
		Rule      int
		Matches   []struct{ Rule int }
		Scores    struct{ Inbound struct{ Blocking int } }
	}
	if err := json.Unmarshal([]byte(lines[0]), &event); err != nil {
		t.Fatal(err)
	}
	if event.Route != "shop-route" || event.Service != "shop" || event.Action != "deny" || event.Rule != 949110 || len(event.Matches) < 2 || event.Scores.Inbound.Blocking < 5 {
		t.Errorf("the event is %s", lines[0])
	}
	if strings.Contains(lines[0], "hunter22") {
		t.Error("the event tells a password")
	}
	access := e.AccessLog() // of two connections, in the order in which they were done
	if !slices.ContainsFunc(access, func(line string) bool {
		return strings.Contains(line, `"reason":"waf"`) && strings.Contains(line, event.RequestID)
	}) {
		t.Errorf("the access log says %s", access)
	}
}

// TestModSecurityLog shows the other format, and that a reload moves to it.
func TestModSecurityLog(t *testing.T) {
	at := origin(t, noContent)
	e := testkit.StartEdge(t, guarded(at, "", "mode: detect"))
	path := filepath.Join(t.TempDir(), "modsec.log")
	if err := e.Use(guarded(at, "log: {access: off, waf: "+path+", waf_format: modsecurity}", "mode: detect")); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, e, attack, 204)
	e.Stop()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`[client 127.0.0.1] ModSecurity: Warning.`, `[id "942100"]`, `[id "949110"]`, `[msg "`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the log lacks %s:\n%s", want, b)
		}
	}
}

// TestRulesDirectory changes rules while they serve: the whole of a change counts
// at once, and one with an error changes nothing.
func TestRulesDirectory(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rule := func(word string) string {
		return `SecRule REQUEST_URI "@contains ` + word + `" "id:100001,phase:1,deny,status:403,log,msg:'` + word + `'"` + "\n"
	}
	write("after/own.conf", rule("blue"))
	cfg := guarded(origin(t, noContent), "waf: {rules: "+dir+"}", "")
	e := testkit.StartEdge(t, cfg)
	wantStatus(t, e, "/blue", 403)
	wantStatus(t, e, "/green", 204)

	write("after/own.conf", rule("green"))
	if err := e.Use(cfg); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, e, "/blue", 204)
	wantStatus(t, e, "/green", 403)

	write("after/own.conf", rule("blue")+"SecRule NO_SUCH_VARIABLE \"@rx a\" \"id:100002,phase:1,pass\"\n")
	err := e.Use(cfg)
	if err == nil || !strings.Contains(err.Error(), "after/own.conf line 2") {
		t.Errorf("rules with an error are answered with: %v", err)
	}
	wantStatus(t, e, "/blue", 204)
	wantStatus(t, e, "/green", 403)
	wantStatus(t, e, attack, 403)
}

// TestVersionsInService: the metric tells the versions of rules that serve, not of
// those that were refused, and none where the firewall is off.
func TestVersionsInService(t *testing.T) {
	dir := t.TempDir()
	own := func(version, more string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "after"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "after", "own.conf"), []byte("SecComponentSignature \"own/"+version+"\"\n"+more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := origin(t, noContent)
	cfg := guarded(at, "waf: {rules: "+dir+"}", "")
	own("1.0", "")
	e := testkit.StartEdge(t, cfg)
	versions := func() (found []string) {
		for series := range scrape(t, e.Metrics()) {
			if strings.HasPrefix(series, `bulwark_waf_rules_info{name="own"`) {
				found = append(found, series)
			}
		}
		return found
	}
	first := []string{`bulwark_waf_rules_info{name="own",version="1.0"}`}
	if got := versions(); !slices.Equal(got, first) {
		t.Errorf("the versions are %q", got)
	}
	own("2.0", "SecNonsense On\n")
	if err := e.Use(cfg); err == nil {
		t.Error("rules with an error are taken")
	}
	if got := versions(); !slices.Equal(got, first) {
		t.Errorf("after rules that were refused the versions are %q", got)
	}
	own("3.0", "")
	if err := e.Use(cfg); err != nil {
		t.Fatal(err)
	}
	if got := versions(); !slices.Equal(got, []string{`bulwark_waf_rules_info{name="own",version="3.0"}`}) {
		t.Errorf("after others the versions are %q", got)
	}
	if err := e.Use(guarded(at, "", "mode: off")); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); len(versions()) > 0; runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatalf("with the mode off the versions are %q", versions())
		}
	}
}

// TestEnginesAreShared: settings take no engine of their own, directives do, and
// reloads leave none behind.
func TestEnginesAreShared(t *testing.T) {
	at := origin(t, noContent)
	routes := func(n int, plugin func(i int) string) string {
		var b strings.Builder
		b.WriteString("services:\n  - name: shop\n    url: http://" + at + "\n    routes:\n")
		for i := range n {
			fmt.Fprintf(&b, "      - {name: r%d, paths: [/r%d], plugins: [{name: waf, config: {%s}}]}\n", i, i, plugin(i))
		}
		return b.String()
	}
	e := testkit.StartEdge(t, routes(200, func(i int) string {
		return fmt.Sprintf("paranoia_level: %d, inbound_threshold: %d", 1+i%4, 5+i)
	}))
	if n := scrape(t, e.Metrics())["bulwark_waf_engines_active"]; n != "1" {
		t.Errorf("200 instances with different settings have %s engines", n)
	}
	for i := range ruleReloads {
		err := e.Use(routes(1, func(int) string {
			return fmt.Sprintf("directives: 'SecAction \"id:100001,phase:1,pass,nolog,setvar:tx.round=%d\"'", i)
		}))
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(t, e, "/r0"+attack[1:], 403)
	}
	for began := time.Now(); scrape(t, e.Metrics())["bulwark_waf_engines_active"] != "1"; runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatalf("%s engines are left after the reloads", scrape(t, e.Metrics())["bulwark_waf_engines_active"])
		}
	}
}

// TestEncodedRequest: rules see what is within, and the upstream gets it as sent.
func TestEncodedRequest(t *testing.T) {
	e := testkit.StartEdge(t, guarded(origin(t, noContent), "", ""))
	pack := func(s string) io.Reader {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, s)
		_ = w.Close()
		return &b
	}
	post := func(body io.Reader) int {
		status, _ := ask(t, e, "POST", "/", body, "Content-Type", "application/x-www-form-urlencoded", "Content-Encoding", "gzip")
		return status
	}
	if got := post(pack("a=hello")); got != 204 {
		t.Errorf("an encoded form is answered with %d", got)
	}
	if got := post(pack("a=<script>alert(1)</script>")); got != 403 {
		t.Errorf("an encoded attack is answered with %d", got)
	}
	if got := post(pack("a=" + strings.Repeat("a", 1<<20))); got != 413 {
		t.Errorf("a bomb is answered with %d", got)
	}
}

// TestEncodedResponse: an upstream that encodes all the same is decoded for the
// rules.
func TestEncodedResponse(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, "<p>Warning: mysql_fetch_array() expects parameter 1 to be resource, boolean given in /var/www/html/index.php on line 12")
	_ = w.Close()
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
	e := testkit.StartEdge(t, guarded(origin(t, answer), "", ""))
	wantStatus(t, e, "/", 403)
}

// TestWrappedBehindPrefix: content of which the rules have seen the beginning goes
// on though another plugin trims its trailer.
func TestWrappedBehindPrefix(t *testing.T) {
	e := testkit.StartEdge(t, guarded(origin(t, noContent), "", "mode: detect")+
		"plugins: [{name: request-transformer, config: {remove: {headers: [x-a]}}}]\n")
	status, body := ask(t, e, "POST", "/", bytes.NewReader(make([]byte, 300<<10)), "Content-Type", "application/octet-stream")
	if status != 204 {
		t.Errorf("answered with %d: %s", status, body)
	}
}
