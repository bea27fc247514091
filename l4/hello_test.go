package l4

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/hello"
)

// spoken returns the ClientHello of a client that wants a server.
func spoken(t *testing.T, name string) []byte {
	t.Helper()
	var first recorded
	_ = tls.Client(&first, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"redis"}}).Handshake()
	return first.Bytes()
}

// recorded is a connection that ends after what was written first.
type recorded struct {
	net.Conn
	bytes.Buffer
}

func (r *recorded) Write(p []byte) (int, error)    { return r.Buffer.Write(p) }
func (*recorded) Read([]byte) (int, error)         { return 0, io.EOF }
func (*recorded) Close() error                     { return nil }
func (*recorded) SetDeadline(time.Time) error      { return nil }
func (*recorded) SetWriteDeadline(time.Time) error { return nil }

// inRecords cuts the message of a hello into records of n bytes.
func inRecords(whole []byte, n int) (out []byte) {
	for msg := whole[5:]; len(msg) > 0; {
		k := min(n, len(msg))
		out = append(out, whole[0], whole[1], whole[2], byte(k>>8), byte(k))
		out = append(out, msg[:k]...)
		msg = msg[k:]
	}
	return out
}

// TestPeekHello sends each hello at once and byte by byte, with bytes behind it.
// Not one may be missing afterwards.
func TestPeekHello(t *testing.T) {
	whole := spoken(t, "Redis.Test")
	tests := []struct {
		name string
		sent []byte
	}{
		{"one record", whole},
		{"records of a hundred bytes", inRecords(whole, 100)},
		{"records of seven bytes", inRecords(whole, 7)},
	}
	for _, tt := range tests {
		for _, bytewise := range []bool{false, true} {
			name := tt.name
			if bytewise {
				name += ", byte by byte"
			}
			t.Run(name, func(t *testing.T) {
				c, client := accepted(t)
				text := string(tt.sent) + "what follows"
				sent := make(chan error, 1)
				go func() { sent <- send(client, text, bytewise) }()
				if err := c.PeekHello(hello.MaxBytes, patience); err != nil {
					t.Fatal(err)
				}
				if h := c.Hello; h.ServerName != "redis.test" || len(h.ALPN) != 1 || h.ALPN[0] != "redis" {
					t.Errorf("hello %+v", h)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(text))
				if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
					t.Errorf("what is read afterwards differs: %v", err)
				}
			})
		}
	}
}

func TestPeekHelloFails(t *testing.T) {
	whole := string(spoken(t, "redis.test"))
	tests := []struct {
		name, sent string
		most       int
		closes     bool
		want       error
	}{
		{"plain HTTP", "GET / HTTP/1.1\r\n", hello.MaxBytes, false, hello.ErrNotTLS},
		{"garbage", "\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", hello.MaxBytes, false, hello.ErrMalformed},
		{"longer than is allowed", whole, 100, false, hello.ErrTooLong},
		{"endless", "\x16\x03\x01\x40\x00\x01\x00\xff\xff", hello.MaxBytes, false, hello.ErrTooLong},
		{"cut off", whole[:60], hello.MaxBytes, true, io.ErrUnexpectedEOF},
		{"without a word", "", hello.MaxBytes, true, io.EOF},
		{"late", whole[:60], hello.MaxBytes, false, os.ErrDeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, client := accepted(t)
			if _, err := io.WriteString(client, tt.sent); err != nil {
				t.Fatal(err)
			}
			if tt.closes {
				_ = client.CloseWrite()
			}
			timeout := patience
			if tt.want == os.ErrDeadlineExceeded {
				timeout = 30 * time.Millisecond
			}
			if err := c.PeekHello(tt.most, timeout); !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if c.Hello != nil {
				t.Errorf("hello %+v", c.Hello)
			}
			if tt.want != hello.ErrNotTLS {
				return
			}
			got := make([]byte, len(tt.sent))
			if _, err := io.ReadFull(c, got); err != nil || string(got) != tt.sent {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

func TestPeekHelloDrains(t *testing.T) {
	c, _ := accepted(t)
	failed := make(chan error, 1)
	go func() { failed <- c.PeekHello(hello.MaxBytes, patience) }()
	c.Drain()
	if err := <-failed; !errors.Is(err, ErrDraining) {
		t.Errorf("error %v", err)
	}
	if err := c.PeekHello(hello.MaxBytes, patience); !errors.Is(err, ErrDraining) {
		t.Errorf("error %v, when the drain came first", err)
	}
}

// TestHandshakeAfterPeek terminates TLS on a connection that was looked at.
func TestHandshakeAfterPeek(t *testing.T) {
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, peer := accepted(t)
	client := tls.Client(peer, &tls.Config{ServerName: "redis.test", InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := c.PeekHello(hello.MaxBytes, patience); err != nil {
		t.Fatal(err)
	}
	if err := c.Handshake(context.Background(), serving(t, cert), patience); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	if c.TLS.ServerName != "redis.test" || c.Hello.ServerName != "redis.test" {
		t.Errorf("names %q and %q", c.TLS.ServerName, c.Hello.ServerName)
	}
}

func TestRefuseName(t *testing.T) {
	c, peer := accepted(t)
	client := tls.Client(peer, &tls.Config{ServerName: "unknown.test", InsecureSkipVerify: true})
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake() }()
	if err := c.PeekHello(hello.MaxBytes, patience); err != nil {
		t.Fatal(err)
	}
	c.RefuseName()
	c.Close()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "remote error: tls: unrecognized name") {
		t.Errorf("the client was told %v", err)
	}
}

func TestOnClose(t *testing.T) {
	for name, end := range map[string]func(*Conn) error{"close": (*Conn).Close, "abort": (*Conn).Abort} {
		t.Run(name, func(t *testing.T) {
			c, client := accepted(t)
			var told atomic.Int32
			c.OnClose(func(of *Conn) {
				if of != c {
					t.Error("told of another connection")
				}
				told.Add(1)
			})
			var ends sync.WaitGroup
			for range 8 {
				ends.Go(func() { _ = end(c) })
			}
			ends.Wait()
			if n := told.Load(); n != 1 {
				t.Errorf("told %d times", n)
			}
			if _, err := client.Read(make([]byte, 1)); err == nil {
				t.Error("the connection is open")
			}
		})
	}
}

func TestCut(t *testing.T) {
	t.Run("the socket", func(t *testing.T) {
		c, _ := accepted(t)
		c.OnClose(func(*Conn) { t.Error("whoever serves it closes it") })
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
		}()
		c.Cut()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the read ended with %v", err)
		}
	})
	t.Run("by other means", func(t *testing.T) {
		c, client := accepted(t)
		cuts := 0
		c.OnCut(func() { cuts++ })
		c.Cut()
		c.Cut()
		if cuts != 1 {
			t.Errorf("told %d times", cuts)
		}
		if _, err := io.WriteString(client, "x"); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("the socket was touched: %v", err)
		}
	})
	t.Run("before it is known how", func(t *testing.T) {
		c, _ := accepted(t)
		c.Cut()
		cuts := 0
		c.OnCut(func() { cuts++ })
		c.Cut()
		if cuts != 1 {
			t.Errorf("told %d times", cuts)
		}
	})
}
