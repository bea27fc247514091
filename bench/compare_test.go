package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fast are options of the shortest possible run.
func fast(t *testing.T) Options {
	t.Helper()
	return Options{
		Bulwark: os.Args[0], Rounds: 1, Duration: time.Second, NoWarmUp: true,
		IdleConnections: 50, IdleWait: 50 * time.Millisecond,
	}
}

// ownTemp makes the run use a folder of its own and returns a check that
// nothing is left behind: no file there and no child process.
func ownTemp(t *testing.T) (check func()) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() {
		t.Helper()
		left, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		stats, err := readStats()
		if err != nil {
			t.Fatal(err)
		}
		for pid, s := range stats {
			if s.parent == os.Getpid() {
				t.Errorf("left behind: process %d", pid)
			}
		}
	}
}

// TestIntegrationCompare runs nginx, HAProxy and a stand-in for Bulwark against one
// another for a second each.
func TestIntegrationCompare(t *testing.T) {
	clean := ownTemp(t)
	files := t.TempDir()
	o := fast(t)
	o.Scenarios = []string{"http1-64", "https-64", "logs", "body-100k", "idle", "idle-tls"}
	o.JSONFile, o.MarkdownFile = filepath.Join(files, "r.json"), filepath.Join(files, "r.md")
	var progress, out bytes.Buffer
	o.Progress = &progress
	if err := Compare(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	clean()
	if n := lines(progress.String(), "round 1 of 1"); n != 18 {
		t.Errorf("got %d lines of progress, want 18:\n%s", n, progress.String())
	}

	b, err := os.ReadFile(o.JSONFile)
	if err != nil {
		t.Fatal(err)
	}
	var rep Report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	checkReport(t, &rep, o.Scenarios)

	md, err := os.ReadFile(o.MarkdownFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# Side by side, ", "| contestant | CPU us/request | range | of nginx | of haproxy | requests/s |", "## idle-tls", "## Bars", "DIR/contestant/haproxy.cfg"} {
		if !strings.Contains(string(md), want) {
			t.Errorf("the Markdown lacks %q:\n%s", want, md)
		}
	}
	for _, want := range []string{"http1-64: HTTP/1.1 keep-alive", "50 idle keep-alive connections", "at most 10240 bytes/connection"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// TestIntegrationCompareTCP runs nginx, HAProxy and the relay for a second each.
func TestIntegrationCompareTCP(t *testing.T) {
	clean := ownTemp(t)
	o := fast(t)
	o.Scenarios = []string{"tcp-rtt-64", "tcp-bulk", "tcp-connect", "tcp-idle-8000"}
	o.JSONFile = filepath.Join(t.TempDir(), "r.json")
	var out bytes.Buffer
	if err := Compare(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	clean()
	b, err := os.ReadFile(o.JSONFile)
	if err != nil {
		t.Fatal(err)
	}
	var rep Report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Scenarios) != len(o.Scenarios) {
		t.Fatalf("got %d scenarios, want %d", len(rep.Scenarios), len(o.Scenarios))
	}
	for i, s := range rep.Scenarios {
		if s.Name != o.Scenarios[i] || s.Bar == nil || len(s.Standings) != 3 {
			t.Errorf("got scenario %+v", s)
		}
		for _, st := range s.Standings {
			m := &st.Median
			if st.Turns[0].Failure != "" || st.Errors != 0 || m.Cost <= 0 || m.ResidentBytes < 1e6 || len(st.CostRatio) != 2 {
				t.Errorf("scenario %q: got %+v", s.Name, st)
			}
		}
	}
	for _, want := range []string{"50 idle relayed TCP connections", "CPU us/round trip", "CPU us/connection", "MB resident"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// TestIntegrationCompareWAF lets nginx with ModSecurity read the rules, pass each
// scenario's request and deny an attack. HAProxy has no WAF and takes no part.
func TestIntegrationCompareWAF(t *testing.T) {
	clean := ownTemp(t)
	o := fast(t)
	o.Contestants = []string{"nginx", "haproxy"}
	o.Scenarios = []string{"waf-get", "waf-json", "waf-form", "waf-json16k"}
	o.Duration = 3 * time.Second // A request of the last takes a third of one, and more on a busy machine.
	o.JSONFile = filepath.Join(t.TempDir(), "r.json")
	if err := Compare(t.Context(), o, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	clean()
	b, err := os.ReadFile(o.JSONFile)
	if err != nil {
		t.Fatal(err)
	}
	var rep Report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	for i, s := range rep.Scenarios {
		if s.Name != o.Scenarios[i] || len(s.Standings) != 1 || s.Standings[0].Contestant != "nginx" {
			t.Fatalf("got scenario %+v", s)
		}
		if st := &s.Standings[0]; st.Turns[0].Failure != "" || st.Errors != 0 || st.Median.Cost <= 0 {
			t.Errorf("scenario %q: got %+v", s.Name, st)
		}
	}
}

// TestCheckWAF: a contestant whose WAF is off, or denies everything, is not
// measured.
func TestCheckWAF(t *testing.T) {
	sc := &scenario{request: "waf/form.http"}
	text := strings.Repeat("x", wafAnswer)
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter, attack bool)
		want  string
	}{
		"as it should be": {func(w http.ResponseWriter, attack bool) {
			if attack {
				w.WriteHeader(http.StatusForbidden)
			} else {
				_, _ = io.WriteString(w, text)
			}
		}, ""},
		"off":        {func(w http.ResponseWriter, _ bool) { _, _ = io.WriteString(w, text) }, "sending an attack: got status 200"},
		"denies all": {func(w http.ResponseWriter, _ bool) { w.WriteHeader(http.StatusForbidden) }, "sending the scenario's request: got status 403"},
		"cut short":  {func(w http.ResponseWriter, _ bool) { _, _ = io.WriteString(w, "x") }, "got status 200 and 1 bytes, want 200 and 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.serve(w, strings.Contains(r.URL.RawQuery, "UNION"))
			}))
			defer srv.Close()
			err := checkWAF(t.Context(), srv.Listener.Addr().(*net.TCPAddr).Port, sc)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func checkReport(t *testing.T, rep *Report, scenarios []string) {
	t.Helper()
	if rep.Version != ReportVersion || rep.Machine.Kernel == "" || !strings.HasPrefix(rep.Machine.Wrk, "wrk ") || !strings.Contains(rep.Machine.Origin, "nginx") {
		t.Errorf("got version %d, machine %+v", rep.Version, rep.Machine)
	}
	if v := rep.Contestants[0].Version; !strings.HasPrefix(v, "bulwark stand-in, go1.") {
		t.Errorf("got version %q of the stand-in", v)
	}
	for i, c := range rep.Contestants {
		if c.Name != []string{"bulwark", "nginx", "haproxy"}[i] || c.Version == "" || c.TLS != "TLS 1.3 TLS_AES_128_GCM_SHA256 X25519" || !strings.Contains(c.Command, "DIR/contestant/") {
			t.Errorf("got contestant %+v", c)
		}
	}
	if len(rep.Scenarios) != len(scenarios) {
		t.Fatalf("got %d scenarios, want %d", len(rep.Scenarios), len(scenarios))
	}
	for i := range rep.Scenarios {
		s := &rep.Scenarios[i]
		if wantBar := s.Name != "logs" && s.Name != "idle-tls"; s.Name != scenarios[i] || wantBar != (s.Bar != nil) || len(s.Standings) != 3 {
			t.Errorf("got scenario %+v", s)
		}
		for _, st := range s.Standings {
			m := &st.Median
			if len(st.Turns) != 1 || st.Turns[0].Failure != "" || st.Errors != 0 || m.ResidentBytes < 1e6 {
				t.Errorf("scenario %q: got %+v", s.Name, st)
			}
			if s.CostUnit == perConnection {
				continue // Fifty connections may well fit into what is resident.
			}
			if m.Cost <= 0 || m.CPUPercent <= 0 || m.RequestsPerSecond <= 0 || m.P99Micros < m.P50Micros || m.P50Micros <= 0 || len(st.CostRatio) != 2 {
				t.Errorf("scenario %q: got %+v", s.Name, st)
			}
		}
	}
}

func TestIntegrationOwnOrigin(t *testing.T) {
	clean := ownTemp(t)
	o := fast(t)
	o.Origin, o.Contestants, o.Scenarios = "bulwark", []string{"haproxy"}, []string{"idle"}
	if err := Compare(t.Context(), o, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	clean()
}

// TestIntegrationContestantDies checks that a failed turn is reported, and that the run
// goes on without it.
func TestIntegrationContestantDies(t *testing.T) {
	clean := ownTemp(t)
	t.Setenv(dieAfter, "100") // Enough for the checks before a turn.
	o := fast(t)
	o.Contestants, o.Scenarios = []string{"bulwark", "nginx"}, []string{"http1-64"}
	var out bytes.Buffer
	err := Compare(t.Context(), o, &out)
	if err == nil || !strings.Contains(err.Error(), `scenario "http1-64", round 1, bulwark: bulwark ended: exit status 3`) || !strings.Contains(err.Error(), "the stand-in gives up") {
		t.Errorf("got error %v", err)
	}
	if !strings.Contains(out.String(), "\nnginx ") || strings.Contains(out.String(), "wanted") {
		t.Errorf("want a row for nginx and no bar; got:\n%s", out.String())
	}
	clean()
}

func TestIntegrationNoStart(t *testing.T) {
	clean := ownTemp(t)
	t.Setenv(dieAfter, "0")
	o := fast(t)
	o.Contestants = []string{"bulwark"}
	err := Compare(t.Context(), o, new(bytes.Buffer))
	if err == nil || !strings.HasPrefix(err.Error(), "trying bulwark: checking ") {
		t.Errorf("got error %v", err)
	}
	clean()
}

// TestIntegrationInterrupt cancels the run while wrk is at work.
func TestIntegrationInterrupt(t *testing.T) {
	clean := ownTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := fast(t)
	o.Duration = maxDuration
	o.Contestants, o.Scenarios = []string{"nginx"}, []string{"http1-64"}
	ended := make(chan error, 1)
	go func() { ended <- Compare(ctx, o, io.Discard) }()
	until(t, func() bool {
		found, err := filepath.Glob(filepath.Join(os.TempDir(), "*", "contestant", "wrk.log"))
		return err == nil && len(found) == 1
	})
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the run goes on")
	}
	clean()
}

func TestOptionFaults(t *testing.T) {
	tests := []struct {
		name string
		set  func(o *Options)
		want string
	}{
		{"scenario", func(o *Options) { o.Scenarios = []string{"http9"} }, `scenario "http9" is unknown; known are http1-64, `},
		{"contestant", func(o *Options) { o.Contestants = []string{"apache"} }, `contestant "apache" is unknown`},
		{"contestant twice", func(o *Options) { o.Contestants = []string{"nginx", "nginx"} }, `contestant "nginx" is named twice`},
		{"no binary", func(o *Options) { o.Bulwark = "" }, "the path of the bulwark binary is missing"},
		{"not a binary", func(o *Options) { o.Bulwark = "main_test.go" }, "reading the bulwark binary: "},
		{"one CPU", func(o *Options) { o.ProxyCPU, o.LoadCPU = 1, 1 }, "CPU 1 is to run both"},
		{"no such CPU", func(o *Options) { o.ProxyCPU = 100000 }, "cannot use CPU 100000"},
		{"negative CPU", func(o *Options) { o.ProxyCPU = -1 }, "cannot use CPU -1"},
		{"rounds", func(o *Options) { o.Rounds = maxRounds + 1 }, "rounds is 101; want 1 to 100"},
		{"fraction of a second", func(o *Options) { o.Duration = 1500 * time.Millisecond }, "duration is 1.5s; want whole seconds"},
		{"warm-up", func(o *Options) { o.NoWarmUp, o.WarmUp = false, -time.Second }, "warm-up is -1s"},
		{"idle connections", func(o *Options) { o.IdleConnections = -1 }, "idle connections is -1"},
		{"idle wait", func(o *Options) { o.IdleWait = time.Hour }, "idle wait is 1h0m0s"},
		{"origin", func(o *Options) { o.Origin = "apache" }, `origin "apache" is unknown`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := fast(t)
			tt.set(&o)
			err := Compare(t.Context(), o, new(bytes.Buffer))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a mention of %q", err, tt.want)
			}
		})
	}
}
