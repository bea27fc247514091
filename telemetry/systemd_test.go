package telemetry

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// env makes a lookup function of a few variables.
func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func TestNotifier(t *testing.T) {
	sockets := map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@bulwark-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	}
	for name, addr := range sockets {
		t.Run(name, func(t *testing.T) {
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetReadDeadline(time.Now().Add(testWait)); err != nil {
				t.Fatal(err)
			}
			n := NewNotifier(env(map[string]string{"NOTIFY_SOCKET": addr}))
			steps := []struct {
				send func() error
				want string
			}{
				{func() error { return n.Ready("serving 2 listeners") }, `^READY=1\nSTATUS=serving 2 listeners$`},
				{n.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$`},
				{func() error { return n.Ready("refused: a\nREADY=0") }, `^READY=1\nSTATUS=refused: a; READY=0$`},
				{func() error { return n.Stopping("draining") }, `^STOPPING=1\nSTATUS=draining$`},
			}
			for _, step := range steps {
				if err := step.send(); err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 1024)
				size, err := conn.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				if !regexp.MustCompile(step.want).Match(b[:size]) {
					t.Errorf("datagram %q, want %s", b[:size], step.want)
				}
			}
		})
	}
}

func TestNotifierWithoutServiceManager(t *testing.T) {
	for _, vars := range []map[string]string{
		nil,
		{"NOTIFY_SOCKET": ""},
		{"NOTIFY_SOCKET": "vsock:2:1"},
	} {
		n := NewNotifier(env(vars))
		for _, err := range []error{n.Ready("x"), n.Reloading(), n.Stopping("x")} {
			if err != nil {
				t.Errorf("with %v: %v", vars, err)
			}
		}
	}
}

func TestNotifierTellsOfALostSocket(t *testing.T) {
	n := NewNotifier(env(map[string]string{"NOTIFY_SOCKET": filepath.Join(t.TempDir(), "none")}))
	if err := n.Ready("x"); err == nil {
		t.Error("no error without a socket")
	}
}
