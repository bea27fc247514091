package health

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/upstream"
)

// patience bounds what must happen soon; soon is the timeout of probes that are
// to run into it.
const (
	patience = 10 * time.Second
	soon     = 50 * time.Millisecond
)

// startTCP starts a server that gives each connection to serve. The test's end
// closes them all and waits for serve to return.
func startTCP(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	ended := make(chan struct{})
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { <-ended; c.Close() })
			work.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		close(ended)
		work.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// startRaw starts a server that reads a request's head and answers by bytes,
// after which it keeps the connection open until the client closes it.
func startRaw(t *testing.T, answer string) netip.AddrPort {
	t.Helper()
	return startTCP(t, func(c net.Conn) {
		b := make([]byte, 4<<10)
		for n := 0; !strings.Contains(string(b[:n]), "\r\n\r\n"); {
			m, err := c.Read(b[n:])
			if err != nil {
				return
			}
			n += m
		}
		_, _ = io.WriteString(c, answer)
		_, _ = io.Copy(io.Discard, c)
	})
}

// startUDP starts a server that sends answers to each datagram that says ping,
// and nothing to others.
func startUDP(t *testing.T, answers ...string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		b := make([]byte, 64)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			for _, a := range answers {
				if string(b[:n]) == "ping" {
					_, _ = c.WriteTo([]byte(a), from)
				}
			}
		}
	})
	t.Cleanup(func() {
		c.Close()
		work.Wait()
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: nothing within %v", what, patience)
		}
	}
}

// records are what every name stands for.
type records []upstream.Record

var _ upstream.Resolver = records(nil)

func (r records) Resolve(context.Context, string) (upstream.Answer, error) {
	return upstream.Answer{Records: r, Expires: sock.Now() + int64(time.Second)}, nil
}
