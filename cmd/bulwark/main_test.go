package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asCommand makes the test binary be the command itself: a test starts it again
// with this variable set.
const asCommand = "BULWARK_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience bounds what must happen soon.
const patience = 20 * time.Second

// command returns the command with arguments, not started yet.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// finish runs the command to its end.
func finish(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	write(t, good, configOf("", "http://127.0.0.1:9"))
	write(t, bad, "_format_version: \"3.0\"\nservices:\n- {name: a, host: h, prot: x}\n- {name: a, host: h}\nroutes:\n- {name: r}\nplugins:\n- {name: ip-restriction}\n")

	stdout, stderr, code := finish(t, "check", good)
	if code != 0 || stderr != "" || stdout != good+" is valid: 1 services, 1 routes, 0 plugins\n" {
		t.Errorf("exit %d, printed %q and %q", code, stdout, stderr)
	}
	stdout, stderr, code = finish(t, "check", bad)
	if code != 1 || stdout != "" {
		t.Errorf("exit %d, printed %q", code, stdout)
	}
	for i, want := range []string{bad + ":3:22: services[0].prot: unknown field", bad + ":4:", bad + ":6:", bad + ":8:"} {
		if lines := strings.Split(stderr, "\n"); i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of the errors does not begin with %q:\n%s", i+1, want, stderr)
		}
	}
	unread := filepath.Join(dir, "unread.yaml")
	write(t, unread, "_format_version: \"3.0\"\nplugins:\n- {name: ip-restriction, config: {allow_files: [/nowhere/list]}}\n- {name: bot-detection}\n")
	if stdout, stderr, code := finish(t, "check", unread); code != 1 || stdout != "" || !strings.Contains(stderr, "open /nowhere/list") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("what does not compile: exit %d, printed %q and %q", code, stdout, stderr)
	}
	if _, stderr, code := finish(t, "check", filepath.Join(dir, "none.yaml")); code != 1 || !strings.Contains(stderr, "create the file") {
		t.Errorf("exit %d, printed %q", code, stderr)
	}
	if _, stderr, code := finish(t, "check"); code != 1 || !strings.HasPrefix(stderr, "bulwark: ") {
		t.Errorf("without a file: exit %d, printed %q", code, stderr)
	}
}

func TestSchema(t *testing.T) {
	stdout, _, code := finish(t, "schema")
	if code != 0 || !json.Valid([]byte(stdout)) || !strings.Contains(stdout, "request-termination") {
		t.Errorf("exit %d, %d bytes that are no schema", code, len(stdout))
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if stdout, _, code := finish(t, args...); code != 0 || stdout != "bulwark dev\n" {
			t.Errorf("%q: exit %d, printed %q", args, code, stdout)
		}
	}
}

func TestRunRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	write(t, bad, "_format_version: \"3.0\"\nnode: {drian: 5s}\nservices: 3\n")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := filepath.Join(dir, "busy.yaml")
	write(t, busy, fmt.Sprintf("_format_version: \"3.0\"\nnode: {listeners: [{name: http, address: %q}], status: off}\n", taken.Addr()))
	for _, tt := range []struct {
		name, path string
		want       []string
	}{
		{"missing", filepath.Join(dir, "none.yaml"), []string{"none.yaml", "create the file"}},
		{"wrong", bad, []string{`did you mean "drain"?`, ":3:"}},
		{"address in use", busy, []string{"address already in use", "another process has it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := finish(t, "run", "--config", tt.path)
			if code != 1 || stdout != "" {
				t.Errorf("exit %d, printed %q", code, stdout)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("the errors do not say %q:\n%s", want, stderr)
				}
			}
		})
	}
}

// configOf returns a configuration with one service on ports of the system's
// choice. node is put into its node.
func configOf(node, url string) string {
	return fmt.Sprintf(`_format_version: "3.0"
node:
  listeners:
    - {name: http, address: "127.0.0.1:0", serve: http}
    - {name: https, address: "127.0.0.1:0", serve: https}
  status: "127.0.0.1:0"
%s
services:
  - {name: a, url: %q, routes: [{name: a, paths: [/]}]}
`, node, url)
}

// running is an edge in a process of its own.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	path   string // of its configuration
	stderr *lines
	out    *lines
	exited chan error
}

// lines is an output that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newLines() *lines { return &lines{more: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// await waits until the output matches and returns the groups.
func (l *lines) await(t *testing.T, expr string) []string {
	t.Helper()
	re := regexp.MustCompile(expr)
	timeout := time.After(patience)
	for {
		if m := re.FindStringSubmatch(l.String()); m != nil {
			return m
		}
		select {
		case <-l.more:
		case <-timeout:
			t.Fatalf("the output does not match %q:\n%s", expr, l)
		}
	}
}

// startRun runs an edge with a configuration and a demo origin, which is what
// tells the ports.
func startRun(t *testing.T, text string) *running {
	t.Helper()
	return startDemo(t, text, "127.0.0.1:0")
}

// startDemo is startRun with the address of the demo origin.
func startDemo(t *testing.T, text, origin string) *running {
	t.Helper()
	p := &running{t: t, path: filepath.Join(t.TempDir(), "bulwark.yaml"), stderr: newLines(), out: newLines(), exited: make(chan error, 1)}
	write(t, p.path, text)
	p.cmd = command(t, "run", "--config", p.path, "--demo", origin)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.out.await(t, `Ctrl-C drains and ends\.\n`)
	return p
}

// url returns where a listener of the edge can be reached.
func (p *running) url(scheme string) string {
	p.t.Helper()
	return p.out.await(p.t, regexp.QuoteMeta(scheme)+`://127\.0\.0\.1:\d+`)[0]
}

func (p *running) status() string {
	p.t.Helper()
	return "http://" + p.out.await(p.t, `curl http://(127\.0\.0\.1:\d+)/status/ready`)[1] + "/status"
}

func (p *running) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the process to end and returns its exit code.
func (p *running) exit() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("the process goes on:\n%s", p.stderr)
		return -1
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	c := http.Client{Timeout: patience}
	defer c.CloseIdleConnections()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	content, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(content)
}

// gate is an origin whose answers wait until they are let go.
func gate(t *testing.T) (url string, arrived chan struct{}, letGo chan struct{}) {
	t.Helper()
	arrived, letGo = make(chan struct{}, 8), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- struct{}{}
			select {
			case <-letGo:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "from the origin")
	}))
	t.Cleanup(s.Close)
	return s.URL, arrived, letGo
}

func TestRunServesAndDrains(t *testing.T) {
	origin, arrived, letGo := gate(t)
	p := startRun(t, configOf("  drain: 20s", origin))
	if status, content := get(t, p.url("http")+"/"); status != 200 || content != "from the origin" {
		t.Fatalf("answered %d %q", status, content)
	}
	answered := make(chan string, 1)
	go func() {
		c := http.Client{Timeout: patience}
		r, err := c.Get(p.url("http") + "/wait")
		if err != nil {
			answered <- err.Error()
			return
		}
		defer r.Body.Close()
		content, _ := io.ReadAll(r.Body)
		answered <- fmt.Sprint(r.StatusCode, " ", string(content), " ", r.Close)
	}()
	<-arrived
	p.signal(syscall.SIGTERM)
	p.stderr.await(t, `"msg":"draining"`)
	select {
	case <-p.exited:
		t.Fatalf("the process ended with an exchange open:\n%s", p.stderr)
	case <-time.After(100 * time.Millisecond):
	}
	close(letGo)
	if got := <-answered; got != "200 from the origin true" {
		t.Errorf("the exchange under way got %q", got)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.stderr)
	}
}

func TestRunDrainIsOver(t *testing.T) {
	origin, arrived, _ := gate(t)
	p := startRun(t, configOf("  drain: 100ms", origin))
	failed := make(chan error, 1)
	go func() {
		c := http.Client{Timeout: patience}
		_, err := c.Get(p.url("http") + "/wait")
		failed <- err
	}()
	<-arrived
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.stderr)
	}
	if err := <-failed; err == nil {
		t.Error("an exchange outlived the drain")
	}
}

func TestRunSecondSignal(t *testing.T) {
	origin, arrived, _ := gate(t)
	p := startRun(t, configOf("  drain: 1h", origin))
	go func() {
		c := http.Client{Timeout: patience}
		if r, err := c.Get(p.url("http") + "/wait"); err == nil {
			r.Body.Close()
		}
	}()
	<-arrived
	p.signal(syscall.SIGINT)
	p.stderr.await(t, `"msg":"draining"`)
	p.signal(syscall.SIGHUP) // is not a second one
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 1 || !strings.Contains(p.stderr.String(), "ended by a second signal") {
		t.Errorf("exit %d:\n%s", code, p.stderr)
	}
}

// TestRunReload shows SIGHUP and a change of the file, right and wrong.
func TestRunReload(t *testing.T) {
	origin, _, _ := gate(t)
	p := startRun(t, configOf("", origin))
	base := p.url("http")

	write(t, p.path, "_format_version: \"3.0\"\nnode: {drian: 5s}\nservices: 3\n")
	p.signal(syscall.SIGHUP)
	p.stderr.await(t, `keeping the old configuration: the new one has errors.*did you mean .*drain`)
	if status, content := get(t, base+"/"); status != 200 || content != "from the origin" {
		t.Errorf("after a wrong file: %d %q", status, content)
	}
	if _, content := get(t, p.status()); !strings.Contains(content, "drian") {
		t.Errorf("/status does not tell the error: %s", content)
	}

	write(t, p.path, configOf("", origin)+"plugins: [{name: request-termination, config: {message: closed}}]\n")
	p.stderr.await(t, `serving a new configuration`) // by the change of the file
	if status, content := get(t, base+"/"); status != 503 || !strings.Contains(content, "closed") {
		t.Errorf("after a right file: %d %q", status, content)
	}
	if _, content := get(t, p.status()); strings.Contains(content, "drian") {
		t.Errorf("/status still tells the error: %s", content)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestRunReopensLog(t *testing.T) {
	origin, _, _ := gate(t)
	log := filepath.Join(t.TempDir(), "access.log")
	p := startRun(t, configOf("  log: {access: "+log+"}", origin))
	logged := func(path, want string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), want)
	}
	get(t, p.url("http")+"/before")
	await(t, func() bool { return logged(log, "/before") })
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	await(t, func() bool {
		get(t, p.url("http")+"/after")
		return logged(log, "/after")
	})
	if !logged(log+".1", "/before") || logged(log, "/before") {
		t.Error("the lines from before are not where they were")
	}
}

// await polls until a fact that nobody tells has come true.
func await(t *testing.T, fact func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !fact(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}
