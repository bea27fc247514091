package bench

import (
	"context"
	"debug/buildinfo"
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// peers holds the configuration of every contestant and of the origin.
//
//go:embed peers
var peers embed.FS

// versionTimeout bounds asking a program for its version.
const versionTimeout = 5 * time.Second

// program is something that a run starts from a template.
type program struct {
	name     string
	path     string // Of its binary.
	template string // File in peers.
	args     func(config string) []string
	version  string
}

// subject is the contestant that the bars are for.
const subject = "bulwark"

// findProgram looks a contestant's binary up and asks for its version.
func findProgram(ctx context.Context, name string, o *Options) (program, error) {
	switch name {
	case subject:
		p := program{name: name, path: o.Bulwark, template: "bulwark.yaml", args: func(c string) []string {
			return []string{"run", "--config", c}
		}}
		var err error
		p.version, err = bulwarkVersion(ctx, o.Bulwark)
		return p, err
	case "nginx":
		p := program{name: name, template: "nginx.conf", args: nginxArgs}
		return p, p.find(ctx, "nginx", "-v")
	case "haproxy":
		p := program{name: name, template: "haproxy.cfg", args: func(c string) []string {
			return []string{"-db", "-f", c}
		}}
		return p, p.find(ctx, "haproxy", "-v")
	}
	return program{}, fmt.Errorf("contestant %q is unknown; known are bulwark, nginx, haproxy", name)
}

func nginxArgs(config string) []string {
	dir := filepath.Dir(config)
	return []string{"-p", dir, "-c", config, "-e", filepath.Join(dir, "nginx-error.log")}
}

// find looks up the binary of a Debian package of the same name.
func (p *program) find(ctx context.Context, name string, versionArgs ...string) error {
	path, err := lookPath(name)
	if err != nil {
		return err
	}
	p.path = path
	p.version, err = firstLine(ctx, path, versionArgs...)
	return err
}

// lookPath also looks where Debian puts servers, which is not in every PATH.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed; install it with: apt-get install %s", name, name)
	}
	return path, nil
}

// firstLine runs a program for the first line it prints; wrk prints its
// version with exit status 1.
func firstLine(ctx context.Context, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput() //nolint:gosec // Found by lookPath.
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return "", fmt.Errorf("asking %q for its version: no answer: %w", path, err)
	}
	line = strings.TrimPrefix(line, "nginx version: ")
	line, _, _ = strings.Cut(line, " Copyright")
	return line, nil
}

// bulwarkVersion asks the binary for its version and reads which Go built it.
func bulwarkVersion(ctx context.Context, path string) (string, error) {
	if path == "" {
		return "", errors.New("the path of the bulwark binary is missing; build it and pass its path")
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the bulwark binary: %w; build it first", err)
	}
	line, err := firstLine(ctx, path, "version")
	return line + ", " + info.GoVersion, err
}

// settings are the values that templates take.
type settings struct {
	Dir                 string // Of this process, for all of its files.
	Root                bool   // Running as root, so nginx must be told to stay so.
	HTTP, HTTPS, Origin int    // Ports on 127.0.0.1.
	TCP, Bulk           int    // Those of a relay to the two below.
	Echo, Source        int
	UDP, UDPOrigin      int // The same for datagrams.
	Logs                bool
	Connections         int // From clients, at most.
	Upstream            int // Idle connections kept to the origin.
	Descriptors         int // Of both kinds.
	CertFile, KeyFile   string
	BundleFile          string // Both in one.
	CertPEM, KeyPEM     string
	Mutual              bool   // Clients must show a certificate of the authority below.
	ClientCAFile        string // Of it, and of the client, whose key is in the same file as its certificate.
	ClientCAPEM         string
	ClientFile          string
	Small               string // The origin's 128-byte answer.
	Text                string // The same of wafAnswer bytes, as text.
	Rules               string // A folder with the Core Rule Set and its setup; "": nobody has wanted it yet.
}

// render writes p's configuration into s.Dir and returns the command line.
func (p *program) render(s *settings) ([]string, error) {
	text, err := fill(p.template, s)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(s.Dir, p.template)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration of %s: %w", p.name, err)
	}
	return append([]string{p.path}, p.args(config)...), nil
}

// fill fills one of the templates in peers.
func fill(name string, s *settings) (string, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"indent": indent}).ParseFS(peers, "peers/"+name)
	if err != nil {
		return "", fmt.Errorf("reading the template %q: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, s); err != nil {
		return "", fmt.Errorf("filling the template %q: %w", name, err)
	}
	return b.String(), nil
}

// indent shifts every line of text by n spaces.
func indent(n int, text string) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+pad)
}

// freePorts finds n ports of 127.0.0.1 that are free now. All are held open
// until the last is found, so they differ.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer ln.Close()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
