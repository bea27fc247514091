package relay

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

// copied is a Copy under way as its peers see it. The client speaks TLS.
type copied struct {
	t            *testing.T
	clientSocket *net.TCPConn
	client       *tls.Conn
	upstream     *net.TCPConn
	ours         [2]*sock.Conn
	abort        context.CancelCauseFunc
	results      chan Result
	first        []byte
	idle         time.Duration
}

func startCopy(t *testing.T, with func(c *copied)) *copied {
	t.Helper()
	c := &copied{t: t, results: make(chan Result, 1)}
	if with != nil {
		with(c)
	}
	before := leak.Goroutines()
	open := descriptors(t)
	c.clientSocket, c.ours[Client] = connected(t)
	c.upstream, c.ours[Upstream] = connected(t)
	ours := c.ours
	server := tls.Server(ours[Client], testCertificate(t))
	c.client = tls.Client(c.clientSocket, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := errors.Join(c.client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	ctx, abort := context.WithCancelCause(t.Context())
	c.abort = abort
	go func() {
		c.results <- Copy(ctx, Party{server, ours[Client], true}, Party{ours[Upstream], ours[Upstream], false}, c.first, c.idle)
	}()
	t.Cleanup(func() {
		abort(nil)
		c.clientSocket.Close()
		c.upstream.Close()
		if left := leak.Leaked(before); len(left) > 0 {
			t.Errorf("%d goroutines are left, the first:\n%s", len(left), left[0])
		}
		await(t, "all descriptors are closed", func() bool { return descriptors(t) <= open })
	})
	return c
}

// connected returns both ends of a TCP connection.
func connected(t *testing.T) (peer *net.TCPConn, ours *sock.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = sock.New(accepted.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	peer = nc.(*net.TCPConn)
	_ = peer.SetDeadline(time.Now().Add(patience))
	return peer, ours
}

func (c *copied) wantEnd(end End, side Side) Result {
	c.t.Helper()
	k := &link{t: c.t, results: c.results}
	return k.wantEnd(end, side)
}

func TestCopyHalfClose(t *testing.T) {
	c := startCopy(t, func(c *copied) { c.first = []byte("PROXY ") })
	send(t, c.client, "question")
	if err := c.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expect(t, c.upstream, "PROXY question")
	expectEnd(t, c.upstream)
	for range 3 {
		send(t, c.upstream, "answer")
		expect(t, c.client, "answer")
	}
	c.upstream.Close()
	expectEnd(t, c.client)
	r := c.wantEnd(EndClosed, Client)
	if want := (Counts{FromClient: 8, ToUpstream: 14, FromUpstream: 18, ToClient: 18}); r.Counts != want {
		t.Errorf("counted %+v, want %+v", r.Counts, want)
	}
}

func TestCopyBulk(t *testing.T) {
	c := startCopy(t, nil)
	all := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	go func() { _, _ = c.client.Write(all); _ = c.client.CloseWrite() }()
	go func() { _, _ = c.upstream.Write(all); _ = c.upstream.CloseWrite() }()
	time.Sleep(50 * time.Millisecond) // both ways are full
	for _, side := range []io.Reader{c.client, c.upstream} {
		got, err := io.ReadAll(side)
		if err != nil || !bytes.Equal(got, all) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
	c.client.Close()
	c.upstream.Close()
	if r := c.result(); r.End != EndClosed || r.ToClient != int64(len(all)) || r.ToUpstream != int64(len(all)) {
		t.Errorf("%+v", r)
	}
}

func (c *copied) result() Result { return (&link{t: c.t, results: c.results}).result() }

func TestCopyReset(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		c := startCopy(t, nil)
		reset(c.clientSocket)
		expectReset(t, c.upstream)
		c.wantEnd(EndReset, Client)
	})
	t.Run("upstream", func(t *testing.T) {
		c := startCopy(t, nil)
		reset(c.upstream)
		if _, err := c.client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the client sees %v, want a reset", err)
		}
		c.wantEnd(EndReset, Upstream)
	})
	t.Run("no TLS any more", func(t *testing.T) {
		c := startCopy(t, nil)
		send(t, c.clientSocket, "this is no record")
		expectReset(t, c.upstream)
		c.wantEnd(EndReset, Client)
	})
}

func TestCopyIdle(t *testing.T) {
	c := startCopy(t, func(c *copied) { c.idle = 300 * time.Millisecond })
	for range 10 { // longer than the idle time in all, in one direction only
		time.Sleep(50 * time.Millisecond)
		send(t, c.client, "x")
		expect(t, c.upstream, "x")
	}
	c.wantEnd(EndIdle, NoSide)
}

// TestCopyBusy lets bytes flow for longer than the idle time, so closely that
// there is no wait for them after the first one.
func TestCopyBusy(t *testing.T) {
	const idle = time.Second
	c := startCopy(t, func(c *copied) { c.idle = idle })
	send(t, c.client, "x")
	expect(t, c.upstream, "x")
	written := make(chan error, 1)
	began := time.Now()
	go func() {
		var err error
		for b := make([]byte, 64<<10); err == nil && time.Since(began) < 2*idle; {
			_, err = c.client.Write(b)
		}
		written <- errors.Join(err, c.client.CloseWrite())
	}()
	// The receiver is slower, so that there is always something to read.
	for b := make([]byte, 64<<10); ; time.Sleep(5 * time.Millisecond) {
		if _, err := c.upstream.Read(b); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	c.upstream.Close()
	c.wantEnd(EndClosed, Client)
}

// TestCopyStalled shows that a record of which only a part comes, and a receiver
// that takes nothing, are bounded by the idle time.
func TestCopyStalled(t *testing.T) {
	t.Run("half a record", func(t *testing.T) {
		c := startCopy(t, func(c *copied) { c.idle = 300 * time.Millisecond })
		send(t, c.clientSocket, "\x17\x03\x03\x10\x00half")
		c.wantEnd(EndIdle, NoSide)
	})
	t.Run("a receiver", func(t *testing.T) {
		c := startCopy(t, func(c *copied) { c.idle = 300 * time.Millisecond })
		go func() { _, _ = c.client.Write(make([]byte, 64<<20)) }()
		c.wantEnd(EndIdle, NoSide)
	})
}

// TestCopyLateInterrupt interrupts the waits of both sides, as whoever waited for
// the sockets before may still do when the copying has begun: it goes on.
func TestCopyLateInterrupt(t *testing.T) {
	for _, idle := range []time.Duration{0, patience} {
		c := startCopy(t, func(c *copied) { c.idle = idle })
		for _, text := range []string{"first", "second", "third"} {
			send(t, c.client, text)
			expect(t, c.upstream, text)
			send(t, c.upstream, text)
			expect(t, c.client, text)
			c.ours[Client].Interrupt()
			c.ours[Upstream].Interrupt()
		}
		c.client.Close()
		expectEnd(t, c.upstream)
		c.upstream.Close()
		c.wantEnd(EndClosed, Client)
	}
}

func TestCopyAbort(t *testing.T) {
	c := startCopy(t, nil)
	cause := errors.New("drained")
	c.abort(cause)
	if r := c.wantEnd(EndAborted, NoSide); !errors.Is(r.Err, cause) {
		t.Errorf("error %v, want %v", r.Err, cause)
	}
	expectEnd(t, c.upstream)
}

// testCertificate is a server's configuration with a certificate of its own.
func testCertificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plan := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &plan, &plan, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
