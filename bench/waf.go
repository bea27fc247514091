package bench

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bulwark-edge/bulwark/rules"
)

// wafRequests are what the scenarios with a WAF send, byte for byte.
//
//go:embed waf/*.http
var wafRequests embed.FS

// wafTemplates are the configurations of the contestants that have a WAF.
var wafTemplates = map[string]string{subject: "bulwark-waf.yaml", "nginx": "nginx-waf.conf"}

// wafAttack is what every contestant must deny before it is measured.
const wafAttack = "GET /text/2k?id=1%27%20UNION%20ALL%20SELECT%20name,password%20FROM%20users--%20- HTTP/1.1\r\n" +
	"Host: shop.example\r\nUser-Agent: bulwark bench\r\nAccept: */*\r\nConnection: close\r\n\r\n"

// wafAnswer is the length of the origin's answer, a text.
const wafAnswer = 2 << 10

// beginWAF starts a contestant with its WAF on and waits until it lets the
// scenario's request pass and denies an attack: one that is off, or denies
// everything, would look splendid.
func (r *run) beginWAF(ctx context.Context, p *program, sc *scenario) (*started, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	s := r.settings
	s.HTTP = ports[0]
	if s.Rules == "" {
		s.Rules = filepath.Join(r.dir, "rules")
		if err := writeRules(s.Rules, &s); err != nil {
			return nil, err
		}
		r.settings.Rules = s.Rules
	}
	proxy := *p
	proxy.template = wafTemplates[p.name]
	t, err := r.launch(&proxy, s)
	if err != nil {
		return nil, err
	}
	err = awaitPorts(ctx, t.process, s.HTTP)
	if err == nil {
		err = checkWAF(ctx, s.HTTP, sc)
	}
	if err != nil {
		return nil, errors.Join(err, t.end())
	}
	return t, nil
}

// checkWAF asks once for what the scenario asks for, and attacks.
func checkWAF(ctx context.Context, port int, sc *scenario) error {
	request, err := wafRequests.ReadFile(sc.request)
	if err != nil {
		return fmt.Errorf("reading the scenario's request: %w", err)
	}
	for _, c := range []struct {
		what    string
		request []byte
		status  int
		length  int64 // -1: any
	}{{"the scenario's request", request, http.StatusOK, wafAnswer}, {"an attack", []byte(wafAttack), http.StatusForbidden, -1}} {
		status, length, err := askRaw(ctx, port, c.request)
		if err != nil {
			return fmt.Errorf("sending %s: %w", c.what, err)
		}
		if status != c.status || c.length >= 0 && length != c.length {
			return fmt.Errorf("sending %s: got status %d and %d bytes, want %d and %d", c.what, status, length, c.status, c.length)
		}
	}
	return nil
}

// askRaw sends a request as it is and reads the answer.
func askRaw(ctx context.Context, port int, request []byte) (status int, length int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return 0, 0, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	length, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, length, err
}

// writeRules writes the Core Rule Set and its setup, as Bulwark has them, for
// contestants that read files, and ModSecurity's own settings.
func writeRules(dir string, s *settings) error {
	w, err := rules.WAF("")
	if err != nil {
		return fmt.Errorf("finding the rules: %w", err)
	}
	for from, pattern := range map[string]string{"crs": "crs/*", "setup": "bulwark/crs-setup.conf"} {
		names, err := fs.Glob(w.FS, pattern)
		if err != nil || len(names) == 0 {
			return errors.Join(fmt.Errorf("finding the rules: nothing is called %q", pattern), err)
		}
		if err := os.MkdirAll(filepath.Join(dir, from), 0o700); err != nil {
			return fmt.Errorf("writing the rules: %w", err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(w.FS, name)
			if err != nil {
				return fmt.Errorf("reading the rules: %w", err)
			}
			// ModSecurity wants a line between a rule without actions and what
			// follows, as there is before the module with the rules is made.
			text = bytes.ReplaceAll(text, []byte("\nSec"), []byte("\n\nSec"))
			if err := os.WriteFile(filepath.Join(dir, from, path.Base(name)), text, 0o600); err != nil {
				return fmt.Errorf("writing the rules: %w", err)
			}
		}
	}
	conf, err := fill("modsecurity.conf", s)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "modsecurity.conf"), []byte(conf), 0o600)
}

// wrkScript writes wrk's script for a scenario: the one that reports, and what
// sends the scenario's own request if it has one.
func (r *run) wrkScript(sc *scenario) (string, error) {
	if sc.request == "" {
		return r.script, nil
	}
	request, err := wafRequests.ReadFile(sc.request)
	if err != nil {
		return "", fmt.Errorf("reading the scenario's request: %w", err)
	}
	report, err := os.ReadFile(r.script)
	if err != nil {
		return "", fmt.Errorf("reading wrk's script: %w", err)
	}
	var b strings.Builder
	b.Write(report)
	b.WriteString("\nlocal raw = \"")
	for _, c := range request {
		fmt.Fprintf(&b, "\\%03d", c)
	}
	b.WriteString("\"\nfunction request() return raw end\n")
	script := filepath.Join(r.dir, "report-"+sc.name+".lua")
	if err := os.WriteFile(script, []byte(b.String()), 0o600); err != nil {
		return "", fmt.Errorf("writing wrk's script: %w", err)
	}
	return script, nil
}
