package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestIntegrationLocalAuthority lets a machine trust the local authority, and
// asks for names of it with a client that goes by the machine's roots.
func TestIntegrationLocalAuthority(t *testing.T) {
	dir := t.TempDir()
	folder, bundle := filepath.Join(dir, "local"), filepath.Join(dir, "etc")
	for _, d := range []string{folder, bundle, filepath.Join(dir, "hooks")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := trustStores
	t.Cleanup(func() { trustStores = old })
	trustStores = []trustStore{{filepath.Join(dir, "none"), nil}, {folder, []string{
		"update-ca-certificates", "--localcertsdir", folder, "--etccertsdir", bundle, "--hooksdir", filepath.Join(dir, "hooks"),
	}}}

	node := fmt.Sprintf("  tls: {local_ca: {names: [localhost, \"*.shop.test\"], directory: %q}}", filepath.Join(dir, "ca"))
	p := startRun(t, configOf(node, "http://127.0.0.1:9"))
	trust := func(args ...string) string {
		t.Helper()
		cmd := certsTrustCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{"--config", p.path}, args...))
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	at, err := url.Parse(p.url("https"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	curl := func(name string) (code int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "curl", "-sS", "-o", "/dev/null", "--cacert", filepath.Join(bundle, "ca-certificates.crt"),
			"--connect-to", "::127.0.0.1:"+port, "https://"+name+":"+port+"/")
		out, err := cmd.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Logf("%s: %s", name, out)
			return exit.ExitCode()
		}
		if err != nil {
			t.Fatal(err)
		}
		return 0
	}
	const untrusted = 60 // curl's code for a certificate that cannot be verified

	if out := trust(); !strings.Contains(out, "is trusted by this machine until") {
		t.Errorf("printed %q", out)
	}
	for name, want := range map[string]int{"localhost": 0, "www.shop.test": 0, "other.test": untrusted} {
		if code := curl(name); code != want {
			t.Errorf("curl https://%s: exit %d, want %d", name, code, want)
		}
	}
	status := strings.TrimPrefix(strings.TrimSuffix(p.status(), "/status"), "http://")
	stdout, stderr, code := finish(t, "certs", "list", "--status", status)
	if code != 0 || !strings.Contains(stdout, "www.shop.test") || !strings.Contains(stdout, "self_signed") || !strings.Contains(stdout, "ECDSA P-256") {
		t.Errorf("certs list: exit %d, printed %q and %q", code, stdout, stderr)
	}
	stdout, stderr, code = finish(t, "certs", "show", "localhost", "--status", status)
	if code != 0 || !strings.Contains(stdout, "state       valid\n") || !strings.Contains(stdout, "BEGIN CERTIFICATE") || strings.Contains(stdout, "PRIVATE") {
		t.Errorf("certs show: exit %d, printed %q and %q", code, stdout, stderr)
	}
	if _, stderr, code = finish(t, "certs", "show", "nobody.test", "--status", status); code != 1 || !strings.Contains(stderr, `there is no certificate for "nobody.test"`) {
		t.Errorf("certs show of none: exit %d, printed %q", code, stderr)
	}

	if out := trust("--remove"); !strings.Contains(out, "is trusted no longer") {
		t.Errorf("printed %q", out)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of roots: %v, %v", left, err)
	}
	if code := curl("localhost"); code == 0 {
		t.Error("curl trusts localhost after the root was removed")
	}
}

func TestCertsBadInput(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, configOf("", "http://127.0.0.1:9"))
	foreign := filepath.Join(t.TempDir(), "foreign.yaml")
	write(t, foreign, configOf("  tls: {local_ca: {names: [www.example.com], directory: here}}", "http://127.0.0.1:9"))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"certs", "trust", "--config", path}, "has no node.tls.local_ca.names; expected some, such as localhost"},
		{[]string{"certs", "trust", "--config", foreign}, `the local authority does not sign for "www.example.com"`},
		{[]string{"certs", "trust", "--config", foreign}, "node.tls.local_ca.directory: "},
		{[]string{"certs", "list", "--status", "nowhere"}, `the status listener's address is "nowhere"; expected host:port`},
		{[]string{"certs", "list", "--status", "127.0.0.1:1"}, "is it running"},
		{[]string{"certs", "list", "--status", "127.0.0.1:1", "--config", path}, "none of the others can be"},
	} {
		if _, stderr, code := finish(t, tt.args...); code != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit %d, printed %q, want %q", tt.args, code, stderr, tt.want)
		}
	}
	if stdout, stderr, code := finish(t, "certs", "list", "--config", path); code != 0 || !strings.HasPrefix(stdout, "NAMES ") {
		t.Errorf("exit %d, printed %q and %q", code, stdout, stderr)
	}
	if _, err := os.Stat("here"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a folder was made for a configuration that is refused")
	}
}
