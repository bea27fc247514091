package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// guardedBy is a configuration with the firewall in front of an origin; node is put
// into its node, plugin into the plugin's configuration.
func guardedBy(node, url, plugin string) string {
	return configOf(node, url) + "plugins:\n- {name: waf, config: {" + plugin + "}}\n"
}

const sqlAttack = "1%27%20UNION%20SELECT%20name%20FROM%20users--%20-"

// TestIntegrationWAFCommands lets an edge write its logs, and asks the commands
// about what is in them, and about requests from files.
func TestIntegrationWAFCommands(t *testing.T) {
	t.Parallel()
	origin, _, _ := gate(t)
	dir := t.TempDir()
	events, audit := filepath.Join(dir, "waf.log"), filepath.Join(dir, "audit.log")
	node := "  log: {access: off, waf: " + events + ", waf_audit: " + audit + "}"
	p := startRun(t, guardedBy(node, origin, "mode: block"))
	base := p.url("http")
	send := func(method, path, contentType, body string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.test"
		req.Header.Set("Accept", "*/*")
		req.Header.Set("Authorization", "Bearer hush-hush-1")
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	const form = "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		method, path, contentType, body string
		want                            int
	}{
		{"GET", "/", "", "", 200}, // nothing to tell
		{"GET", "/?id=" + sqlAttack, "", "", 403},
		{"POST", "/login", form, "comment=" + sqlAttack + "&password=hush-hush-2", 403},
	} {
		if got := send(tt.method, tt.path, tt.contentType, tt.body); got != tt.want {
			t.Errorf("%s %s: %d", tt.method, tt.path, got)
		}
	}
	linesOf := func(path string) []string {
		text, _ := os.ReadFile(path)
		return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
	await(t, func() bool { return len(linesOf(events)) == 2 && len(linesOf(audit)) == 2 })
	checkAudit(t, linesOf(audit))

	// A log that was moved away is opened anew.
	if err := os.Rename(audit, audit+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	await(t, func() bool {
		send("GET", "/?id="+sqlAttack, "", "")
		_, err := os.Stat(audit)
		return err == nil
	})
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Fatalf("exit %d", code)
	}
	checkReplays(t, dir, origin, events, audit+".1")
}

// checkAudit looks at the records of a denied GET and a denied form.
func checkAudit(t *testing.T, lines []string) {
	t.Helper()
	var get, post waf.AuditRecord
	if err := json.Unmarshal([]byte(lines[0]), &get); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(lines[1]), &post); err != nil {
		t.Fatal(err)
	}
	r := get.Transaction.Request
	if !get.Transaction.Interrupted || r.Method != "GET" || r.URI != "/?id="+sqlAttack || r.HTTPVersion != "1.1" || len(r.Headers["host"]) != 1 {
		t.Errorf("the record is %s", lines[0])
	}
	if !slices.ContainsFunc(get.Messages, func(m waf.AuditMessage) bool {
		return m.Data.ID == 942100 && strings.Contains(m.Error, `[id "942100"]`)
	}) {
		t.Errorf("the record does not tell of rule 942100: %s", lines[0])
	}
	if r = post.Transaction.Request; r.Body != "comment="+sqlAttack+"&password=***" || !r.Masked || r.BodyCut {
		t.Errorf("the content is recorded as %q", r.Body)
	}
	if all := strings.Join(lines, ""); strings.Contains(all, "hush-hush") {
		t.Errorf("a secret stands in %s", all)
	}
}

// checkReplays replays the logs by other configurations.
func checkReplays(t *testing.T, dir, origin, events, audit string) {
	t.Helper()
	for i, tt := range []struct {
		plugin string
		logs   []string
		code   int
		want   []string
	}{
		{"mode: block", []string{audit}, 0, []string{"2 exchanges: 0 with another outcome, 0 more with other matches, 0 skipped"}},
		{"mode: detect", []string{audit}, 1, []string{"before: deny, now: pass (mode block: deny)", "2 with another outcome"}},
		{"exclusions: [{tags: [attack-sqli], target: 'ARGS:id'}]", []string{events}, 1, []string{"rule 942100 matches no more: what it matched in is left out"}},
		{"exclusions: [{tags: [attack-sqli], target: 'ARGS:id'}]", []string{audit}, 1, []string{"rule 942100 matches no more: it does not match", "2 exchanges: 1 with another outcome"}},
		{"exclusions: [{tags: [attack-sqli], paths: [/login]}]", []string{audit, audit}, 1, []string{"4 exchanges: 2 with another outcome", "unsure: values are masked"}},
		{"directives: 'SecRule ARGS:comment \"@rx .\" \"id:100001,phase:2,pass,log,msg:own\"'", []string{audit}, 0, []string{"rule 100001 matches now", "1 more with other matches"}},
		{"mode: off", []string{events}, 1, []string{"now: pass", "nothing inspects on this route"}},
	} {
		path := filepath.Join(dir, "other.yaml")
		write(t, path, guardedBy("", origin, tt.plugin))
		stdout, stderr, code := finish(t, append([]string{"waf", "replay", "--config", path}, tt.logs...)...)
		if code != tt.code || stderr != "" {
			t.Errorf("%d, %s: exit %d, %s%s", i, tt.plugin, code, stderr, stdout)
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("%d, %s: printed without %q:\n%s", i, tt.plugin, want, stdout)
			}
		}
	}
}

// TestWAFTry tries requests from files.
func TestWAFTry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := filepath.Join(dir, "bulwark.yaml")
	write(t, cfg, `_format_version: "3.0"
node: {log: {waf: `+filepath.Join(dir, "waf.log")+`}}
services:
- name: shop
  url: http://127.0.0.1:9
  routes:
  - {name: shop, hosts: [shop.test], plugins: [{name: waf, config: {}}]}
  - {name: watched, hosts: [watched.test], plugins: [{name: waf, config: {mode: detect}}]}
  - {name: bare, hosts: [bare.test]}
  - {name: sealed, hosts: [sealed.test], protocols: [https], plugins: [{name: waf, config: {}}]}
`)
	request := func(host, rest string) string {
		return "POST / HTTP/1.1\nHost: " + host + "\nUser-Agent: test\nAccept: */*\nContent-Type: application/x-www-form-urlencoded\n" + rest
	}
	const bad = "id=1' UNION SELECT name FROM users-- -&password=hush-hush"
	for name, tt := range map[string]struct {
		request string
		args    []string
		code    int
		want    string
	}{
		"attack":       {request("shop.test", "\n"+bad), nil, 1, "verdict: refused with 403"},
		"crlf":         {strings.ReplaceAll(request("shop.test", "\n"), "\n", "\r\n") + bad, nil, 1, `rule 942100, phase 2, paranoia level 1`},
		"json":         {request("shop.test", "\n"+bad), []string{"--json"}, 1, `"refused": true`},
		"chunked":      {request("shop.test", "Transfer-Encoding: chunked\n\n") + "39\r\n" + bad + "\r\n0\r\n\r\n", nil, 1, `"ARGS:id"`},
		"wrong length": {request("shop.test", "Content-Length: 7\n\n"+bad), nil, 1, "note: Content-Length is 57 and not 7"},
		"editor's end": {request("shop.test", "Content-Length: 3\n\na=1\n"), nil, 0, "verdict: passes"},
		"beyond":       {request("shop.test", "Transfer-Encoding: chunked\n\n") + "3\r\na=1\r\n0\r\n\r\nmore", nil, 0, "note: 4 bytes behind the last chunk are left out"},
		"blank line":   {"GET / HTTP/1.1\nHost: shop.test\nUser-Agent: test\nAccept: */*\n\n\n", nil, 0, "inbound score 0 of 5"},
		"ordinary":     {request("shop.test", "\na=1"), nil, 0, "inbound score 0 of 5"},
		"detects":      {request("watched.test", "\n"+bad), nil, 0, "mode block: deny"},
		"no firewall":  {request("bare.test", "\n"+bad), nil, 0, "no firewall stands on this route"},
		"by its name":  {request("other.test", "\n"+bad), []string{"--route", "shop"}, 1, `route "shop"`},
		"no route":     {request("other.test", "\n"+bad), nil, 2, "no route takes the request"},
		"wrong name":   {request("shop.test", "\n"+bad), []string{"--route", "nosuch"}, 2, "no such route"},
		"needs tls":    {request("sealed.test", "\n"+bad), nil, 2, "--tls"},
		"within tls":   {request("sealed.test", "\n"+bad), []string{"--tls"}, 1, "refused with 403"},
		"no request":   {"hello\n", nil, 2, "reading the request"},
		"no file":      {"", []string{"--nosuch"}, 2, "unknown flag"},
		"bad client":   {request("shop.test", "\n"), []string{"--client", "me"}, 2, "--client"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "request.http")
			write(t, path, tt.request)
			stdout, stderr, code := finish(t, append([]string{"waf", "try", path, "--config", cfg}, tt.args...)...)
			if all := stdout + stderr; code != tt.code || !strings.Contains(all, tt.want) || strings.Contains(all, "hush-hush") {
				t.Errorf("exit %d, printed without %q:\n%s%s", code, tt.want, stdout, stderr)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "waf.log")); err == nil {
		t.Error("a trial has opened the log")
	}
}

// TestWAFReplayRefused replays an event of a request that had no route, by a
// configuration whose only route has no name, and by some with a global firewall.
func TestWAFReplayRefused(t *testing.T) {
	dir := t.TempDir()
	cfg, log := filepath.Join(dir, "bulwark.yaml"), filepath.Join(dir, "waf.log")
	write(t, log, `{"request_id":"1","method":"GET","target":"/","mode":"block","action":"refused","would":"deny","rule":949110,"detection_paranoia_level":1,`+
		`"matches":[{"rule":942100,"phase":2,"paranoia_level":1,"severity":"critical","targets":[{"variable":"ARGS:id","value":"1"}]}],"scores":{"inbound":{"levels":[5,0,0,0]}}}`)
	const route = "_format_version: \"3.0\"\nservices:\n- {name: shop, url: 'http://127.0.0.1:9', routes: [{paths: [/], plugins: [{name: waf, config: {inbound_threshold: 1000}}]}]}\n"
	for name, tt := range map[string]struct {
		global string
		code   int
		want   string
	}{
		"no global firewall": {"", 2, "skipped: it was refused before it had a route"},
		"the same":           {"plugins: [{name: waf, config: {mode: block}}]", 0, "1 exchanges: 0 with another outcome, 0 more"},
		"another threshold":  {"plugins: [{name: waf, config: {inbound_threshold: 1000, mode: block}}]", 0, "before: refused (mode block: deny), now: refused\n"},
	} {
		write(t, cfg, route+tt.global)
		stdout, stderr, code := finish(t, "waf", "replay", log, "--config", cfg)
		if code != tt.code || !strings.Contains(stdout, tt.want) {
			t.Errorf("%s: exit %d, printed without %q:\n%s%s", name, code, tt.want, stdout, stderr)
		}
	}
}

// TestWAFReplayResponses replays records of exchanges whose response mattered.
func TestWAFReplayResponses(t *testing.T) {
	dir := t.TempDir()
	cfg, log := filepath.Join(dir, "bulwark.yaml"), filepath.Join(dir, "waf.log")
	write(t, cfg, guardedBy("", "http://127.0.0.1:9", "mode: block"))
	record := func(target, rest string) string {
		return `{"transaction":{"id":"1","client_ip":"192.0.2.1","request":{"method":"GET","uri":"` + target +
			`","headers":{"host":["a.test"],"user-agent":["t"],"accept":["*/*"]}},` + rest + `}`
	}
	const denied = "skipped: the response was denied"
	for name, tt := range map[string]struct {
		record string
		code   int
		want   string
	}{
		"denied, with the response": {record("/", `"is_interrupted":true,"response":{"status":200}}`), 2, denied},
		"denied, by the rules' set": {record("/", `"is_interrupted":true},"messages":[{"data":{"id":951100}},{"data":{"id":959100}},{"data":{"id":980170}}]`), 2, denied},
		"denied, by a rule":         {record("/", `"is_interrupted":true},"messages":[{"data":{"id":1},"error_message":"[client 192.0.2.1] ModSecurity: Access denied with code 403 (phase 3). Match"}]`), 2, denied},
		"a request that is denied":  {record("/", `"is_interrupted":true},"messages":[{"data":{"id":942100},"error_message":"[client 192.0.2.1] ModSecurity: Access denied with code 403 (phase 2). Match of \"Access denied with (phase 3). "}]`), 1, "before: deny, now: pass"},
		"denied by now":             {record("/?id="+sqlAttack, `"is_interrupted":true,"response":{"status":200}}`), 0, "1 exchanges: 0 with another outcome"},
		"told, but not denied":      {record("/", `"is_interrupted":false},"messages":[{"data":{"id":951100}},{"data":{"id":980170}}]`), 0, "1 exchanges: 0 with another outcome, 0 more with other matches"},
		"the sum of a request":      {record("/", `"is_interrupted":false},"messages":[{"data":{"id":980170}}]`), 0, "rule 980170 matches no more"},
	} {
		write(t, log, tt.record)
		stdout, stderr, code := finish(t, "waf", "replay", log, "--config", cfg)
		if code != tt.code || !strings.Contains(stdout, tt.want) {
			t.Errorf("%s: exit %d, printed without %q:\n%s%s", name, code, tt.want, stdout, stderr)
		}
	}
}

// TestWAFReplayBadInput tells what cannot be replayed.
func TestWAFReplayBadInput(t *testing.T) {
	dir := t.TempDir()
	cfg, log := filepath.Join(dir, "bulwark.yaml"), filepath.Join(dir, "waf.log")
	write(t, cfg, guardedBy("", "http://127.0.0.1:9", ""))
	for name, tt := range map[string]struct{ log, want string }{
		"empty":            {"", "0 exchanges"},
		"other lines":      {"{}\n{\"transaction\":3}\nx\n", "0 exchanges"},
		"unknown route":    {`{"request_id":"1","mode":"block","action":"deny","route":"nosuch"}`, "no such route"},
		"no fields":        {`{"transaction":{"id":"1","client_ip":"192.0.2.1","request":{"method":"GET","uri":"/"}}}`, "part B"},
		"no such encoding": {`{"transaction":{"id":"1","client_ip":"192.0.2.1","request":{"method":"GET","uri":"/","headers":{"host":["a"]},"body":"%","body_encoding":"base64"}}}`, "reading the content"},
		"split request":    {`{"transaction":{"id":"1","client_ip":"192.0.2.1","request":{"method":"GET","uri":"/ HTTP/1.1\r\nHost: b","headers":{"host":["a"]}}}}`, "the request of the record"},
		"no client":        {`{"transaction":{"id":"1","request":{"method":"GET","uri":"/","headers":{"host":["a"]}}}}`, "the client of the record"},
	} {
		write(t, log, tt.log)
		stdout, stderr, code := finish(t, "waf", "replay", log, "--config", cfg)
		if code != exitUsage || !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: exit %d, printed without %q:\n%s%s", name, code, tt.want, stdout, stderr)
		}
	}
	var out bytes.Buffer
	(&replayed{RequestID: "\x1b[2J", Method: "GET", Target: "\x1b[2J"}).write(&out)
	if bytes.ContainsRune(out.Bytes(), 0x1b) {
		t.Errorf("printed %q", out.String())
	}
}
