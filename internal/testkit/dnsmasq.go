package testkit

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Dnsmasq is a real dnsmasq that answers for names below test. It may be stopped
// and started again on its port.
type Dnsmasq struct {
	Addr string // host:port

	t     testing.TB
	hosts string
	cmd   *exec.Cmd
	out   bytes.Buffer
}

// StartDnsmasq starts dnsmasq with a hosts file, and with options
// of its command line; the test's end stops it.
func StartDnsmasq(t testing.TB, hosts string, options ...string) *Dnsmasq {
	t.Helper()
	d := &Dnsmasq{Addr: LastingAddr(t), t: t, hosts: filepath.Join(t.TempDir(), "hosts")}
	d.write(hosts)
	t.Cleanup(d.Stop)
	d.Start(options...)
	return d
}

func (d *Dnsmasq) write(hosts string) {
	d.t.Helper()
	if err := os.WriteFile(d.hosts, []byte(hosts), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

// Start starts dnsmasq and waits until it answers.
func (d *Dnsmasq) Start(options ...string) {
	d.t.Helper()
	path, err := exec.LookPath("dnsmasq")
	if err != nil {
		path = "/usr/sbin/dnsmasq" // Debian keeps it out of a user's path
	}
	me, err := user.Current()
	if err != nil {
		d.t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(d.Addr)
	d.cmd = exec.Command(path, append([]string{
		"--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file=",
		"--user=" + me.Username, "--no-resolv", "--no-hosts", "--addn-hosts=" + d.hosts,
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + port, "--local=/test/",
	}, options...)...)
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("starting dnsmasq: %v: install it (Debian: apt install dnsmasq-base)", err)
	}
	// TCP is enough to know: both sockets are opened at once.
	deadline := time.Now().Add(patience)
	for {
		c, err := net.Dial("tcp", d.Addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			d.Stop()
			d.t.Fatalf("dnsmasq does not answer: %v\n%s", err, d.out.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Use lets dnsmasq answer by another hosts file.
func (d *Dnsmasq) Use(hosts string) {
	d.t.Helper()
	d.write(hosts)
	if d.cmd == nil {
		return
	}
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		d.t.Fatalf("telling dnsmasq to read its hosts file again: %v", err)
	}
}

// Freeze lets dnsmasq do nothing until Thaw: questions wait for it unanswered.
func (d *Dnsmasq) Freeze() { d.signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (d *Dnsmasq) Thaw() { d.signal(syscall.SIGCONT) }

func (d *Dnsmasq) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatalf("sending %v to dnsmasq: %v", s, err)
	}
}

// Stop stops dnsmasq if it runs.
func (d *Dnsmasq) Stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGCONT) // else a frozen one would not end
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	_ = d.cmd.Wait() // the signal is its exit status
	d.cmd = nil
}
