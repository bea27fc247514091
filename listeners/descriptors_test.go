package listeners

import (
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOutOfDescriptors lets a client come while the process has no descriptor
// for it: accepting pauses and says why, and goes on by itself.
func TestOutOfDescriptors(t *testing.T) {
	for name, raw := range map[string]bool{"attached": false, "raw": true} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, new(rawEcho))
			web := spec("web")
			web.Raw = raw
			f.use(web)
			at := f.settled(web)
			c := f.dial("web") // so the listener waits in its own way
			if word, err := io.ReadAll(c); err != nil || string(word) != name {
				t.Fatalf("read %q, %v", word, err)
			}
			client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(client)
			restore := exhaust(t, client)
			err = unix.Connect(client, &unix.SockaddrInet4{Addr: at.Addr.As4(), Port: int(at.Port)})
			for end := time.Now().Add(patience); !strings.Contains(f.log.String(), "LimitNOFILE") && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			restore()
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.SetsockoptTimeval(client, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}); err != nil {
				t.Fatal(err)
			}
			word := make([]byte, len(name))
			if n, err := unix.Read(client, word); err != nil || string(word[:n]) != name {
				t.Errorf("read %q, %v", word[:n], err)
			}
			if log := f.log.String(); !strings.Contains(log, "LimitNOFILE") || !strings.Contains(log, "pause=5ms") {
				t.Errorf("the log does not say what to do:\n%s", log)
			}
		})
	}
}

// exhaust takes all descriptors that there are. client is one of them.
func exhaust(t *testing.T, client int) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := limit
	limit.Cur = uint64(client) // those below are taken, or will be; those above are refused
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	var holes []int
	for {
		n, err := unix.FcntlInt(uintptr(client), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		holes = append(holes, n)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
		for _, n := range holes {
			unix.Close(n)
		}
	}
}
