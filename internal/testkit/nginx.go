package testkit

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Nginx is a real nginx as origin: it serves files from Root and takes uploads
// by PUT; /host tells the Host it was asked for, and /health is 500 while there
// is a file named sick. It may be stopped and started again on its port.
type Nginx struct {
	Addr string // host:port
	Root string

	t   testing.TB
	dir string
	cmd *exec.Cmd
	out bytes.Buffer
}

// nginxConf runs nginx as one process, with everything it writes under the
// test's folder.
const nginxConf = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	default_type application/octet-stream;
	client_max_body_size 0;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		root %[1]s/root;
		location / { dav_methods PUT; }
		location /host { return 200 "$http_host $http_x_forwarded_proto"; }
		location /health {
			if (-f $document_root/sick) { return 500; }
			return 200;
		}
	}
}
`

// StartNginx starts nginx on a free port; the test's end stops it.
func StartNginx(t testing.TB) *Nginx {
	t.Helper()
	n := &Nginx{Addr: LastingAddr(t), t: t, dir: t.TempDir()}
	n.Root = filepath.Join(n.dir, "root")
	if err := os.Mkdir(n.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.conf(), fmt.Appendf(nil, nginxConf, n.dir, n.Addr), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	n.Start()
	return n
}

func (n *Nginx) conf() string { return filepath.Join(n.dir, "nginx.conf") }

// Start starts nginx and waits until it accepts.
func (n *Nginx) Start() {
	n.t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // Debian keeps it out of a user's path
	}
	n.cmd = exec.Command(path, "-e", "stderr", "-p", n.dir, "-c", n.conf())
	n.cmd.Stdout, n.cmd.Stderr = &n.out, &n.out
	if err := n.cmd.Start(); err != nil {
		n.t.Fatalf("starting nginx: %v: install it (Debian: apt install nginx)", err)
	}
	deadline := time.Now().Add(patience)
	for {
		c, err := net.Dial("tcp", n.Addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			n.Stop()
			n.t.Fatalf("nginx does not accept: %v\n%s", err, n.out.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Stop stops nginx if it runs.
func (n *Nginx) Stop() { n.end(syscall.SIGTERM) }

// Kill ends nginx as a crash does: its kernel resets the connections.
func (n *Nginx) Kill() { n.end(syscall.SIGKILL) }

func (n *Nginx) end(by syscall.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(by)
	_ = n.cmd.Process.Signal(syscall.SIGCONT) // it may be frozen
	_ = n.cmd.Wait()                          // the signal is its exit status
	n.cmd = nil
}

// Freeze lets nginx hang: the kernel still accepts connections for it.
func (n *Nginx) Freeze() { n.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (n *Nginx) Thaw() { n.signal(syscall.SIGCONT) }

func (n *Nginx) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// WriteFile puts a file where nginx serves it as /name.
func (n *Nginx) WriteFile(name string, content []byte) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.Root, name), content, 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// Curl runs curl and returns what it prints.
func Curl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("curl", append([]string{"--silent", "--show-error", "--max-time", "60", "--noproxy", "*"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %q: %v\n%s", args, err, out)
	}
	return string(out)
}
