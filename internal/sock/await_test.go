package sock

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNoWait(t *testing.T) {
	c, peer := pair(t)
	c.SetNoWait(true)
	p := make([]byte, 8)
	if n, err := c.Read(p); n != 0 || err != ErrWouldBlock {
		t.Fatalf("without bytes: %d, %v, want ErrWouldBlock", n, err)
	}
	send(t, peer, "hello")
	for range 2 { // the second time it is still there
		if err := c.AwaitRead(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Read(p); err != nil || string(p[:n]) != "hello" {
		t.Fatalf("read %q, %v", p[:n], err)
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := c.AwaitRead(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline's", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_ = peer.CloseWrite()
	if err := c.AwaitRead(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(p); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v, want io.EOF", n, err)
	}
	c.SetNoWait(false)
	if n, err := c.Read(p); n != 0 || err != io.EOF {
		t.Errorf("waiting again: %d, %v, want io.EOF", n, err)
	}
}

// TestAwaitReadTellsReset shows that the wait does not swallow an error that no
// read would tell again.
func TestAwaitReadTellsReset(t *testing.T) {
	c, peer := pair(t)
	_ = peer.SetLinger(0)
	peer.Close()
	if err := c.AwaitRead(); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("error %v, want a reset", err)
	}
}

// TestDescriptors goes through a connection's life without Go's poller, on both
// families.
func TestDescriptors(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln := listener(t, address)
		_ = NoDelayFD(ln)
		at, err := LocalFD(ln)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := ConnectFD(at)
		if err != nil {
			t.Fatal(err)
		}
		defer CloseFD(fd)
		ours := -1
		await(t, "the connection waits", func() bool {
			var err error
			ours, _, err = AcceptFD(ln)
			return err == nil
		})
		defer CloseFD(ours)
		if local, err := LocalFD(ours); err != nil || local != at {
			t.Errorf("our address is %s (%v), want %s", local, err, at)
		}
		if v, err := unix.GetsockoptInt(ours, unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
			t.Errorf("TCP_NODELAY is not inherited: %d, %v", v, err)
		}
		if err := ErrorFD(fd); err != nil {
			t.Error(err)
		}
		if n, err := WriteFD(fd, []byte("hello")); n != 5 || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
		ShutFD(fd)
		p := make([]byte, 8)
		await(t, "the bytes have come", func() bool { n, _ := ReadFD(ours, p); return n == 5 })
		await(t, "the end has come", func() bool { n, err := ReadFD(ours, p); return n == 0 && err == nil })
		if _, _, err := AcceptFD(ln); err != unix.EAGAIN {
			t.Errorf("error %v with nobody there, want EAGAIN", err)
		}
	}
}

// TestConnectMeetsItself gives sockets the very address that they connect to, as
// the kernel does now and then where nobody listens.
func TestConnectMeetsItself(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		at := ln.Addr().(*net.TCPAddr).AddrPort()
		ln.Close()
		for selves, attempts := range [dialAttempts + 1]int{1, 2, 3, 3} {
			made := 0
			prepare := func(fd int) {
				if made++; made <= selves {
					bindFD(t, fd, at)
				}
			}
			fd, err := connectFD(at, prepare)
			if made != attempts {
				t.Errorf("%s: %d sockets met themselves, and %d were made, want %d", at, selves, made, attempts)
			}
			if selves == dialAttempts {
				if !errors.Is(err, unix.ECONNREFUSED) {
					t.Errorf("%s: connected to itself: %v", at, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			await(t, "a refusal", func() bool { return ErrorFD(fd) == unix.ECONNREFUSED })
			CloseFD(fd)
		}
	}
}

// bindFD gives a socket an address.
func bindFD(t *testing.T, fd int, at netip.AddrPort) {
	t.Helper()
	sa := unix.Sockaddr(&unix.SockaddrInet6{Addr: at.Addr().As16(), Port: int(at.Port())})
	if at.Addr().Is4() {
		sa = &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}
	}
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
}

// TestAcceptTellsPeer shows that the address is the peer's, and plain IPv4 on a
// socket of both families.
func TestAcceptTellsPeer(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln := listener(t, address)
		at, err := LocalFD(ln)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := ConnectFD(at)
		if err != nil {
			t.Fatal(err)
		}
		defer CloseFD(fd)
		await(t, "the connection waits", func() bool {
			ours, peer, err := AcceptFD(ln)
			if err != nil {
				return false
			}
			CloseFD(ours)
			if want, _ := LocalFD(fd); peer != want {
				t.Errorf("the peer is %s, want %s", peer, want)
			}
			return true
		})
	}
}

// listener returns a listening socket that belongs to no poller.
func listener(t *testing.T, address string) int {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseFD(fd) })
	return fd
}
