package testkit

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/tls/certs"

	"github.com/rogpeppe/go-internal/txtar"
)

// update is the flag of every test binary that runs golden scripts.
var update = flag.Bool("update", false, "write the expectations of golden scripts anew")

// RunScripts runs every golden script whose path matches pattern, each as a
// parallel subtest.
func RunScripts(t *testing.T, pattern string) {
	t.Helper()
	RunScriptsInPart(t, pattern, 1)
}

// RunScriptsInPart is RunScripts with only every stride-th of the ways to send a
// script's bytes, the whole one among them. It is for packages of which another
// target of the Makefile takes all ways.
func RunScriptsInPart(t *testing.T, pattern string, stride int) {
	t.Helper()
	if testing.Short() {
		stride = max(stride, shortStride)
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no script matches %q", pattern)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			runScript(t, path, stride)
		})
	}
}

func runScript(t *testing.T, path string, stride int) {
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseScript(src)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		newGolden(t, s).record(t)
		if err := os.WriteFile(path, txtar.Format(s.archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	checkScript(t, s, stride)
}

// maxLanes is how many runs of a script go on at the same time at the most, each
// lane with an edge and an upstream of its own. To start them takes longer than
// some runs do, so that a lane has laneRuns of them at least.
const (
	maxLanes = 6
	laneRuns = 8
)

// checkScript shares every stride-th run of a script out to the lanes.
func checkScript(t *testing.T, s *script, stride int) {
	var work sync.WaitGroup
	defer work.Wait()
	all := every(stride, runs(s))
	lanes := min(maxLanes, (len(all)+laneRuns-1)/laneRuns)
	for i := range lanes {
		g := newGolden(t, s)
		var mine []run
		for k := i; k < len(all); k += lanes {
			mine = append(mine, all[k])
		}
		work.Go(func() { g.check(t, mine) })
	}
}

// shortStride is the least stride of a short test.
const shortStride = 7

func every(n int, all []run) []run {
	var some []run
	for i := 0; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

// reporter is the part of a test that a script reports to.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// golden is a script with the edge and the upstream it runs against.
type golden struct {
	script   *script
	edge     *Edge
	upstream *upstreamServer
	ports    []string
	patience time.Duration // bounds the wait for what is expected
}

func newGolden(t *testing.T, s *script) *golden {
	t.Helper()
	var cfg *tls.Config
	if s.has("upstream-tls") {
		cert, err := certs.SelfSigned(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cfg = &tls.Config{Certificates: []tls.Certificate{*cert}}
	}
	up, err := startUpstream(s.answers, s.isStream(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.close)
	addr := up.addr()
	if s.has("refuse") {
		addr = refusingAddr(t)
	}
	config := strings.ReplaceAll(s.config, "$UPSTREAM", addr)
	if strings.Contains(config, "$DIR") {
		config = strings.ReplaceAll(config, "$DIR", filepath.Join(t.TempDir(), "dir"))
	}
	if s.has("two") {
		second, err := up.listenTwice()
		if err != nil {
			t.Fatal(err)
		}
		config = strings.ReplaceAll(config, "$SECOND", second)
	}
	g := &golden{script: s, upstream: up, patience: patience}
	g.edge = StartEdge(t, config)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	g.ports = []string{port, "<upstream-port>"}
	listeners := []string{"http", "https"}
	if s.isStream() {
		listeners = []string{s.listener()}
	}
	for _, l := range listeners {
		g.ports = append(g.ports, strconv.Itoa(int(g.edge.Port(l))), "<port>")
	}
	return g
}

// refusingAddr returns an address at which connections are refused for as long
// as the test runs: a socket is bound there and does not listen.
func refusingAddr(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*unix.SockaddrInet4).Port))
}

// run is one way to send the same bytes.
type run struct {
	name           string
	client, answer split
}

// runs returns every way in which the script is run, the whole one first.
func runs(s *script) []run {
	all := []run{{"whole", whole(), whole()}}
	if s.has("no-split") {
		return all
	}
	all = append(all,
		run{"client byte by byte", split{at: -1, each: true}, whole()},
		run{"answer byte by byte", whole(), split{at: -1, each: true}})
	n := 0
	for i := range s.steps {
		n = max(n, mostBreaks(s.steps[i].send))
	}
	for i := range n {
		all = append(all, run{fmt.Sprintf("client split at border %d", i+1), split{at: i}, whole()})
	}
	n = 0
	for _, a := range s.answers {
		n = max(n, mostBreaks(a))
	}
	for i := range n {
		all = append(all, run{fmt.Sprintf("answer split at border %d", i+1), whole(), split{at: i}})
	}
	return all
}

// once runs the script in one way. With record it writes the replies into the
// script, else it checks them.
func (g *golden) once(t reporter, r run, record bool) (ok bool) {
	t.Helper()
	g.upstream.begin(r.answer)
	c := &client{script: g.script, edge: g.edge, split: r.client, record: record, patience: g.patience, ports: slices.Clone(g.ports)}
	defer c.close()
	for i := range g.script.steps {
		s := &g.script.steps[i]
		want := ""
		if s.reply >= 0 {
			want = string(g.script.archive.Files[s.reply].Data)
		}
		got, err := c.do(s, want)
		if err != nil {
			t.Errorf("%s: step %d: %v", r.name, i+1, err)
			return false
		}
		switch {
		case record && s.reply >= 0:
			g.script.archive.Files[s.reply].Data = []byte(got)
		case s.reply >= 0 && got != want && !(r.client != whole() && isLateReset(want, got)):
			t.Errorf("%s: step %d: the reply differs (-want +got):\n%s", r.name, i+1, cmp.Diff(want, got))
			return false
		}
	}
	if record {
		time.Sleep(stillness)
		g.script.setExpected("upstream", g.captured(c.ports))
		return true
	}
	return g.checkUpstream(t, r, c.ports)
}

// isLateReset reports whether got is the whole of want and a reset after it in
// place of a close. That is what the system makes of bytes that come when the
// edge has closed already, as the second half of split input may.
func isLateReset(want, got string) bool {
	before, closed := strings.CutSuffix(want, actClose+"\n")
	return closed && got == before+actReset+"\n"
}

func (g *golden) captured(ports []string) string { return normalize(g.upstream.captured(), ports...) }

// checkUpstream waits until the upstream has got what is expected. Bytes that
// come later fail the run after, or the last look.
func (g *golden) checkUpstream(t reporter, r run, ports []string) bool {
	t.Helper()
	want, ok := g.script.expected("upstream")
	if !ok {
		return true
	}
	deadline := time.Now().Add(g.patience)
	for {
		got := g.captured(ports)
		if got == want {
			return true
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: the upstream got something else (-want +got):\n%s", r.name, cmp.Diff(want, got))
			return false
		}
		time.Sleep(time.Millisecond)
	}
}

func (g *golden) check(t reporter, runs []run) {
	t.Helper()
	for i, r := range runs {
		if !g.once(t, r, false) {
			t.Logf("run %d of %d; the edge's log:\n%s", i+1, len(runs), g.edge.Log)
			return
		}
	}
	last := g.upstream.captured()
	g.edge.Stop()
	g.upstream.close()
	if late := g.upstream.captured(); late != last {
		t.Errorf("the upstream got something after the last run (-before +after):\n%s", cmp.Diff(last, late))
	}
	if g.script.log {
		want, _ := g.script.expected("log")
		checkLog(t, want, len(runs), g.edge.AccessLog())
	}
}

func (g *golden) record(t *testing.T) {
	t.Helper()
	if !g.once(t, run{"whole", whole(), whole()}, true) {
		return
	}
	g.edge.Stop()
	var lines strings.Builder
	for _, l := range g.edge.AccessLog() {
		lines.WriteString(summary(t, l) + "\n")
	}
	g.script.setExpected("log", lines.String())
}

// checkLog holds the lines of all runs against those of one.
func checkLog(t reporter, want string, runs int, lines []string) {
	t.Helper()
	expected, got := make(map[string]int), make(map[string]int)
	for l := range strings.Lines(want) {
		expected[strings.TrimSuffix(l, "\n")] += runs
	}
	for _, l := range lines {
		got[summary(t, l)]++
	}
	if !maps.Equal(expected, got) {
		t.Errorf("the log of %d runs differs (-want +got):\n%s", runs, cmp.Diff(expected, got))
	}
}

// summary returns the part of a log entry that a script looks at.
func summary(t reporter, line string) string {
	t.Helper()
	if line == "" {
		return ""
	}
	var e struct {
		Response       struct{ Status int }
		Session        struct{ Status int } // of a stream
		Reason         string
		UpstreamStatus string `json:"upstream_status"`
		Source         string
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Errorf("reading log entry %q: %v", line, err)
	}
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return fmt.Sprintf("%d %s %s %s", e.Response.Status+e.Session.Status, dash(e.Reason), dash(e.UpstreamStatus), dash(e.Source))
}
