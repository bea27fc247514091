package traffic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// sqlmapPatience bounds one run of sqlmap.
const sqlmapPatience = 4 * time.Minute

// TestIntegrationSqlmap lets sqlmap attack a server that looks vulnerable, by
// itself and behind an edge with the WAF's defaults. By itself it is found
// vulnerable; behind the edge it is not, no statement comes through, and the log
// explains each block, be it of the request or of an error of MySQL's in the
// response.
func TestIntegrationSqlmap(t *testing.T) {
	bare := new(shop)
	if out := runSqlmap(t, startOrigin(t, bare)); !strings.Contains(out, "GET parameter 'id' is vulnerable") && !strings.Contains(out, "Parameter: id (GET)") {
		t.Fatalf("sqlmap finds nothing where there is something:\n%s", out)
	}

	behind := new(shop)
	log := filepath.Join(t.TempDir(), "waf.log")
	access := filepath.Join(t.TempDir(), "access.log")
	e := testkit.StartEdge(t, fmt.Sprintf(`
node:
  listeners: [{name: http, address: "127.0.0.1:0", serve: http}]
  log: {level: warn, access: %q, waf: %q, waf_format: modsecurity}
services:
  - name: shop
    url: http://%s
    routes: [{name: all, paths: [/]}]
plugins:
  - {name: waf}
`, access, log, startOrigin(t, behind)))
	out := runSqlmap(t, e.At("http").String())
	e.Stop() // So the logs are complete.
	if !strings.Contains(out, "all tested parameters do not appear to be injectable") {
		t.Errorf("sqlmap has found something:\n%s", out)
	}
	if s := behind.statements(); len(s) > 0 {
		t.Errorf("%d statements came through: %q", len(s), s)
	}
	blocked := 0
	for line := range strings.Lines(read(t, access)) {
		if !strings.Contains(line, `"status":403`) {
			continue
		}
		blocked++
		id := requestID.FindStringSubmatch(line)
		if id == nil {
			t.Fatalf("the access log has a line without a request's id: %s", line)
		}
		explained(t, read(t, log), id[1])
	}
	if blocked < 20 {
		t.Errorf("only %d requests were blocked", blocked)
	}
}

// explained checks that the log has the verdict on a request, and a rule that it
// goes by.
func explained(t *testing.T, log, id string) {
	t.Helper()
	var verdict, rule bool
	for line := range strings.Lines(log) {
		if strings.Contains(line, `[unique_id "`+id+`"]`) {
			judged := strings.Contains(line, `[id "949110"]`) || strings.Contains(line, `[id "959100"]`)
			verdict = verdict || judged
			rule = rule || !judged && strings.Contains(line, `[severity "CRITICAL"]`)
		}
	}
	if !verdict || !rule {
		t.Errorf("the log does not explain why request %s was blocked", id)
	}
}

// runSqlmap lets sqlmap look for an injection, quickly, and returns what it says.
// It does not name itself, so that its payloads are what is judged.
func runSqlmap(t *testing.T, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), sqlmapPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sqlmap", "-u", "http://"+addr+"/item?id=1",
		"--batch", "--disable-coloring", "--flush-session", "--output-dir", t.TempDir(),
		"--technique", "BEU", "--dbms", "MySQL", "--level", "1", "--risk", "1", "--threads", "4",
		"--retries", "0", "--timeout", "10", "--user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil || cmd.ProcessState == nil {
		t.Fatalf("running sqlmap: %v: install it (Debian: apt install sqlmap)\n%s", err, out)
	}
	return string(out)
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shop looks as if it put the id into a statement: conditions decide what it
// shows, and what is no statement is answered with MySQL's error.
type shop struct {
	mu    sync.Mutex
	asked []string // Ids with more than a number.
}

var (
	condition = regexp.MustCompile(`^1 AND (\d+) ?([=<> ]) ?(\d+)(?:-- .*|#.*)?$`)
	requestID = regexp.MustCompile(`"request":\{"id":"([0-9a-f]{32})"`)
	number    = regexp.MustCompile(`^[0-9]+$`)
	statement = regexp.MustCompile(`(?i)\b(?:select|union|and|or|order by|sleep|extractvalue|case)\b[^a-z]`)
)

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	w.Header().Set("Content-Type", "text/html")
	if !number.MatchString(id) {
		s.mu.Lock()
		s.asked = append(s.asked, id)
		s.mu.Unlock()
	}
	m := condition.FindStringSubmatch(id)
	switch {
	case id == "1" || m != nil && holds(m[1], m[2], m[3]):
		_, _ = io.WriteString(w, "<html><body><h1>Shoe</h1><p>A shoe for long walks, in blue, size 42, 129.90 in stock.</body></html>")
	case number.MatchString(id) || m != nil:
		_, _ = io.WriteString(w, "<html><body><p>There is no such item.</body></html>")
	default:
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "<html><body>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near ''' at line 1</body></html>")
	}
}

// holds evaluates a condition.
func holds(a, operator, b string) bool {
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	if errA != nil || errB != nil {
		return false
	}
	switch operator {
	case "<":
		return x < y
	case ">":
		return x > y
	}
	return operator == "=" && x == y
}

// statements are the ids that came with a statement in them.
func (s *shop) statements() (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.asked {
		if statement.MatchString(id) {
			found = append(found, id)
		}
	}
	return found
}
