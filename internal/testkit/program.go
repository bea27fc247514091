package testkit

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// StartHAProxy starts HAProxy with a configuration and waits until it accepts
// at addr; the test's end stops it.
func StartHAProxy(t testing.TB, conf, addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	startProgram(t, "haproxy", addr, "-db", "-f", path)
}

// StartNginxConf starts nginx with servers of one's own and waits until it
// accepts at addr; the test's end stops it.
func StartNginxConf(t testing.TB, servers, addr string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	conf := "daemon off;\nmaster_process off;\npid " + dir + "/nginx.pid;\nerror_log stderr warn;\nevents {}\n" +
		"http {\naccess_log off;\nclient_body_temp_path " + dir + ";\nproxy_temp_path " + dir + ";\nfastcgi_temp_path " + dir +
		";\nuwsgi_temp_path " + dir + ";\nscgi_temp_path " + dir + ";\n" + servers + "}\n"
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	startProgram(t, "nginx", addr, "-e", "stderr", "-p", dir, "-c", path)
}

// StartGRPC starts the server of the gRPC project's interoperability tests on a
// free port, which it returns; the test's end stops it. Without a certificate it
// speaks cleartext.
func StartGRPC(t testing.TB, cert, key string) (addr string) {
	t.Helper()
	addr = LastingAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"--port", port}
	if cert != "" {
		args = append(args, "--use_tls", "--tls_cert_file", cert, "--tls_key_file", key)
	}
	startProgram(t, Tool(t, "google.golang.org/grpc/interop/server"), addr, args...)
	return addr
}

// GRPCClient returns the client of the gRPC project's interoperability tests.
func GRPCClient(t testing.TB) string {
	t.Helper()
	return Tool(t, "google.golang.org/grpc/interop/client")
}

// StartRedis starts redis on a free port, which it returns; the test's end stops
// it. It keeps nothing.
func StartRedis(t testing.TB) (addr string) {
	t.Helper()
	addr = LastingAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	startProgram(t, "redis-server", addr, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	return addr
}

// startProgram starts a server of Debian's and waits until it accepts at addr;
// the test's end stops it.
func startProgram(t testing.TB, name, addr string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name // Debian keeps it out of a user's path
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v: install it (Debian: apt install %s)", name, err, name)
	}
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // the signal is its exit status
	}
	deadline := time.Now().Add(patience)
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			t.Cleanup(stop)
			return
		}
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("%s does not accept: %v\n%s", name, err, out.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
