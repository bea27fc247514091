package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	configuration "github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

const (
	readmeFile     = "../../README.md"
	quickstartFile = "../../examples/quickstart.yaml"
)

// trial is a command of the README and what it says that is printed.
type trial struct{ line, output string }

// trials returns the README's curl lines.
func trials(t *testing.T) []trial {
	t.Helper()
	src, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []trial
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(src), -1) {
		for part := range strings.SplitSeq(block[1], "$ ") {
			line, output, _ := strings.Cut(part, "\n")
			if strings.HasPrefix(line, "curl ") {
				all = append(all, trial{line, strings.TrimSpace(output)})
			}
		}
	}
	if len(all) < 5 {
		t.Fatalf("the README has %d curl lines", len(all))
	}
	return all
}

// TestReadmeLinesArePrinted shows that `make run` prints the README's curl lines
// and no others.
func TestReadmeLinesArePrinted(t *testing.T) {
	src, err := os.ReadFile(quickstartFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := configuration.Load(src, catalog.All(), configuration.Origin{Path: quickstartFile, Environ: func() []string { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	d := demo{status: cfg.Node.Status.AddrPort(), origin: netip.MustParseAddrPort("127.0.0.1:9000")}
	for _, l := range cfg.Node.Listeners {
		switch l.Name {
		case "http":
			d.http = l.Address.AddrPort()
		case "https":
			d.https = l.Address.AddrPort()
		}
	}
	var out strings.Builder
	d.print(&out)
	var printed, want []string
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") {
			printed = append(printed, line)
		}
	}
	for _, c := range trials(t) {
		want = append(want, c.line)
	}
	if got, want := strings.Join(printed, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("printed are\n%s\nthe README has\n%s", got, want)
	}
}

// requestID is what differs each time.
var requestID = regexp.MustCompile(`[0-9a-f]{32}`)

// TestIntegrationReadme runs the README's curl lines against what `make run`
// starts, on other ports, and compares what they print with the README.
func TestIntegrationReadme(t *testing.T) {
	src, err := os.ReadFile(quickstartFile)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin := free.Addr().String()
	free.Close()
	text := strings.NewReplacer("127.0.0.1:8000", "127.0.0.1:0", "127.0.0.1:8443", "127.0.0.1:0", "127.0.0.1:8007", "127.0.0.1:0", "127.0.0.1:9000", origin).Replace(string(src))
	p := startDemo(t, text, origin)
	ports := strings.NewReplacer(
		"http://127.0.0.1:8000", p.url("http"), "https://127.0.0.1:8443", p.url("https"),
		"http://127.0.0.1:8007/status", p.status(),
	)
	for _, c := range trials(t) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		cmd := exec.CommandContext(ctx, "bash", "-c", strings.Replace(ports.Replace(c.line), "curl ", "curl -sS ", 1))
		out, err := cmd.CombinedOutput()
		cancel()
		got := strings.TrimSpace(strings.ReplaceAll(string(out), "\r", ""))
		if err != nil || requestID.ReplaceAllString(got, "ID") != requestID.ReplaceAllString(c.output, "ID") {
			t.Errorf("%s\nprints\n%s\nthe README says\n%s\n%v", c.line, got, c.output, err)
		}
	}
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
}
