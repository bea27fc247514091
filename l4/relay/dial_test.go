package relay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/epoll"
	"github.com/bulwark-edge/bulwark/internal/sock"
)

// listen returns a listening socket that belongs to no poller.
func listen(t *testing.T) (fd int, address string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 512); err != nil {
		t.Fatal(err)
	}
	at, err := sock.LocalFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, at.String()
}

// dial dials on a loop and waits for the outcome.
func dial(t *testing.T, l *Loop, to netip.AddrPort, timeout time.Duration, then func(d *Dial)) error {
	t.Helper()
	done := make(chan error, 2)
	l.Post(func() {
		l.Dial(to, timeout, func(d *Dial, err error) {
			if err == nil {
				then(d)
			}
			done <- err
		})
	})
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("the dial does not end")
	}
	return nil
}

func TestDialRefused(t *testing.T) {
	fd, address := listen(t)
	unix.Close(fd)
	r := newRig(t, 1)
	err := dial(t, r.Loop(), netip.MustParseAddrPort(address), patience, (*Dial).Cancel)
	if !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("error %v, want a refusal", err)
	}
}

func TestDialNowhere(t *testing.T) {
	r := newRig(t, 1)
	if err := dial(t, r.Loop(), netip.AddrPort{}, patience, (*Dial).Cancel); err == nil {
		t.Error("connected to no address")
	}
}

// TestDialTimeout dials a socket whose queue is full, so that nothing answers.
func TestDialTimeout(t *testing.T) {
	fd, address := listen(t)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	first, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	r := newRig(t, 1)
	err = dial(t, r.Loop(), netip.MustParseAddrPort(address), 200*time.Millisecond, (*Dial).Cancel)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline's", err)
	}
	// And one that is under way when the relay is closed.
	done := make(chan error, 2)
	begun := make(chan struct{})
	l := r.Loop()
	l.Post(func() {
		l.Dial(netip.MustParseAddrPort(address), patience, func(_ *Dial, err error) { done <- err })
		cancelled := l.Dial(netip.MustParseAddrPort(address), patience, func(*Dial, error) { t.Error("told of a cancelled dial") })
		cancelled.Cancel()
		cancelled.Cancel()
		close(begun)
	})
	<-begun
	r.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

// TestUpstreamSpeaksFirst shows that what an upstream says before its link has
// begun is not missed, whenever that is.
func TestUpstreamSpeaksFirst(t *testing.T) {
	for _, late := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			if c, err := ln.Accept(); err == nil {
				_, _ = io.WriteString(c, "220 ready")
				c.Close()
			}
		}()
		r := newRig(t, 1)
		client, ours := couple(t)
		l := r.Loop()
		results := make(chan Result, 1)
		start := func(d *Dial) {
			l.Start(Pair{Client: ours, Dialed: d, Done: func(r Result) { results <- r }})
		}
		if late {
			then := start
			start = func(d *Dial) {
				l.poll.Set(&epoll.Timer{Do: expirer(func() { then(d) })}, l.poll.Now()+int64(3*epoll.Tick))
			}
		}
		if err := dial(t, l, ln.Addr().(*net.TCPAddr).AddrPort(), patience, start); err != nil {
			t.Fatal(err)
		}
		expect(t, client, "220 ready")
		expectEnd(t, client)
		client.Close()
		<-results
	}
}

// expirer is an epoll.Expirer.
type expirer func()

func (f expirer) Expired() { f() }

func TestDetach(t *testing.T) {
	fd, address := listen(t)
	r := newRig(t, 1)
	taken := -1
	if err := dial(t, r.Loop(), netip.MustParseAddrPort(address), patience, func(d *Dial) {
		taken = d.Descriptor()
		if fd := d.Detach(); fd != taken {
			t.Errorf("detached %d, was %d", fd, taken)
		}
	}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	peer, _, err := sock.AcceptFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(peer)
	if _, err := sock.WriteFD(taken, []byte("x")); err != nil {
		t.Errorf("the connection is not the caller's: %v", err)
	}
	unix.Close(taken)
}
