//go:build !race

package crs_test

import (
	"bufio"
	"embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/crs"
)

const (
	stages         = 4680 // Of the suite; none may get lost.
	mostExceptions = 15   // That may not pass.
)

// rigRules are the settings of the rule set's own test rig that have no name in
// the plugin's configuration.
const rigRules = `SecAction "id:1900005,phase:1,nolog,pass,t:none,\
  setvar:tx.crs_validate_utf8_encoding=1,\
  setvar:tx.arg_name_length=100,\
  setvar:tx.arg_length=400,\
  setvar:tx.total_arg_length=64000,\
  setvar:tx.max_num_args=255,\
  setvar:tx.max_file_size=64100,\
  setvar:tx.combined_file_sizes=65535"`

//go:embed testdata/exceptions.txt
var exceptionFiles embed.FS

// TestSuite runs the Core Rule Set's regression suite through an edge, at
// paranoia level 4 and without blocking, as the rule set's own rig does. It is
// left out under the race detector, where it takes many minutes and shows
// nothing more.
func TestSuite(t *testing.T) {
	tests, err := crs.Load(crstests.FS)
	if err != nil {
		t.Fatal(err)
	}
	exceptions := readExceptions(t)
	sent, lines := runSuite(t, tests)
	if len(sent) != stages {
		t.Errorf("the suite has %d stages, not %d", len(sent), stages)
	}
	passed, silent := 0, 0
	met := make(map[string]bool)
	for i := range sent {
		s := &sent[i]
		name := fmt.Sprintf("%s.%d", s.Test, s.Number)
		fault := s.Judge(lines[s.Client])
		switch {
		case exceptions[name] && fault == nil:
			t.Errorf("%s passes, and is listed as one that does not", name)
		case exceptions[name]:
			met[name] = true
		case fault != nil:
			t.Errorf("%s: %v; status %d, rules %v, request %.2000q", name, fault, s.Status, crs.IDs(lines[s.Client]), s.Stage.Input.Bytes())
		default:
			passed++
			if unseen(s, lines[s.Client]) {
				silent++
			}
		}
	}
	for name := range exceptions {
		if !met[name] {
			t.Errorf("%s is listed, and is no stage of the suite that does not pass", name)
		}
	}
	if failed := len(sent) - passed; failed > mostExceptions {
		t.Errorf("%d stages do not pass, of which there may be %d", failed, mostExceptions)
	}
	t.Logf("%d stages: %d pass, %d of them since they were refused and no rule had anything to tell; %d do not pass",
		len(sent), passed, silent, len(sent)-passed)
}

// unseen reports whether a stage that wants rules to be silent was refused
// without them.
func unseen(s *crs.Sent, lines []string) bool {
	answeredBehind := strings.Contains(string(s.Response), "cannot be reflected")
	return s.Stage.Output.Status == 0 && s.Status >= 400 && len(lines) == 0 && !answeredBehind
}

// runSuite sends the suite to an edge and returns what the edge logged of it.
func runSuite(t *testing.T, tests []crs.Test) ([]crs.Sent, crs.Lines) {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(crs.Reflector))
	t.Cleanup(origin.Close)
	log := filepath.Join(t.TempDir(), "waf.log")
	e := testkit.StartEdge(t, fmt.Sprintf(`
node:
  listeners: [{name: http, address: "127.0.0.1:0", serve: http}]
  log: {level: warn, access: "off", waf: %q, waf_format: modsecurity}
services:
  - name: origin
    url: %s
    routes: [{name: all, paths: [/]}]
plugins:
  - name: waf
    config:
      mode: detect
      paranoia_level: 4
      request_decoding: refuse # So that 920450 judges encodings.
      directives: %s
`, log, origin.URL, strconv.Quote(rigRules)))
	r := crs.Runner{Address: e.At("http").String(), Workers: 8}
	sent := r.Run(t.Context(), tests)
	e.Stop() // So the log is complete.
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return sent, crs.ReadLines(string(text))
}

// readExceptions reads testdata/exceptions.txt, whose first lines say how.
func readExceptions(t *testing.T) map[string]bool {
	t.Helper()
	f, err := exceptionFiles.Open("testdata/exceptions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := make(map[string]bool)
	in := bufio.NewScanner(f)
	for in.Scan() {
		line := in.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if reason == "" || all[name] {
			t.Fatalf("%q tells no reason, or there are two of the stage", line)
		}
		all[name] = true
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
