package l4

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// accepted returns a client's connection as a listener would make it, and the
// client's end.
func accepted(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := sock.New(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		client.Close()
	})
	_ = client.SetDeadline(time.Now().Add(patience))
	peer, local := nc.RemoteAddr().(*net.TCPAddr), nc.LocalAddr().(*net.TCPAddr)
	return NewConn(s, NewInfo("web", peer.AddrPort(), local.AddrPort())), client.(*net.TCPConn)
}

func TestNewInfo(t *testing.T) {
	tests := []struct {
		name, client, local string
		want                Info
	}{
		{"IPv4", "192.0.2.1:1234", "192.0.2.9:80", Info{
			Listener: "web", Client: netip.MustParseAddrPort("192.0.2.1:1234"), Local: netip.MustParseAddrPort("192.0.2.9:80"), Peer: netip.MustParseAddrPort("192.0.2.1:1234"),
			ClientIP: "192.0.2.1", LocalPort: "80",
		}},
		{"IPv4 on an IPv6 socket", "[::ffff:192.0.2.1]:1234", "[::ffff:192.0.2.9]:80", Info{
			Listener: "web", Client: netip.MustParseAddrPort("192.0.2.1:1234"), Local: netip.MustParseAddrPort("192.0.2.9:80"), Peer: netip.MustParseAddrPort("192.0.2.1:1234"),
			ClientIP: "192.0.2.1", LocalPort: "80",
		}},
		{"IPv6", "[2001:db8::1]:1234", "[2001:db8::9]:8443", Info{
			Listener: "web", Client: netip.MustParseAddrPort("[2001:db8::1]:1234"), Local: netip.MustParseAddrPort("[2001:db8::9]:8443"), Peer: netip.MustParseAddrPort("[2001:db8::1]:1234"),
			ClientIP: "2001:db8::1", LocalPort: "8443",
		}},
		{"a zone is no part of the address in texts", "[fe80::1%eth0]:1234", "[fe80::9%eth0]:80", Info{
			Listener: "web", Client: netip.MustParseAddrPort("[fe80::1%eth0]:1234"), Local: netip.MustParseAddrPort("[fe80::9%eth0]:80"), Peer: netip.MustParseAddrPort("[fe80::1%eth0]:1234"),
			ClientIP: "fe80::1", LocalPort: "80",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := NewInfo("web", netip.MustParseAddrPort(tt.client), netip.MustParseAddrPort(tt.local))
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
				t.Errorf("info (-want +got):\n%s", diff)
			}
			if got.Scheme() != "http" {
				t.Errorf("scheme %q", got.Scheme())
			}
		})
	}
}

// serving returns policies by which every client is shown a certificate and asked
// for nothing.
func serving(t *testing.T, cert *tls.Certificate) *policy.Set {
	t.Helper()
	set, err := policy.New(policy.Options{
		Policies: policy.Builtin(), Default: "intermediate", Protocols: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestHandshake(t *testing.T) {
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		client *tls.Config
		want   *TLS
	}{
		{"TLS 1.3", &tls.Config{ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}}, &TLS{Version: "TLSv1.3", ServerName: "localhost", Protocol: "h2"}},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, &TLS{Version: "TLSv1.2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, peer := accepted(t)
			tt.client.InsecureSkipVerify = true
			client := tls.Client(peer, tt.client)
			shaken := make(chan error, 1)
			go func() {
				err := client.Handshake()
				if err == nil {
					_, err = io.WriteString(client, "hello")
				}
				shaken <- err
			}()
			if err := c.Handshake(context.Background(), serving(t, cert), patience); err != nil {
				t.Fatal(err)
			}
			if err := <-shaken; err != nil {
				t.Fatal(err)
			}
			if c.Scheme() != "https" || c.TLS.Cipher == "" {
				t.Errorf("scheme %q, cipher %q", c.Scheme(), c.TLS.Cipher)
			}
			tt.want.Cipher = c.TLS.Cipher
			if diff := cmp.Diff(tt.want, c.TLS, cmpopts.IgnoreUnexported(TLS{}), cmpopts.IgnoreFields(TLS{}, "Memo")); diff != "" {
				t.Errorf("what the handshake settled (-want +got):\n%s", diff)
			}
			p := make([]byte, 5)
			if _, err := io.ReadFull(c, p); err != nil || string(p) != "hello" {
				t.Errorf("read %q, %v", p, err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(p); err != io.EOF {
				t.Errorf("the client's read ended with %v, want io.EOF", err)
			}
		})
	}
}

func TestHandshakeTimeout(t *testing.T) {
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, _ := accepted(t)
	err = c.Handshake(context.Background(), serving(t, cert), 30*time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline's", err)
	}
}

func TestCloseWritePlain(t *testing.T) {
	c, client := accepted(t)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client's read ended with %v, want io.EOF", err)
	}
	if _, err := io.WriteString(client, "still here"); err != nil {
		t.Errorf("the other direction is closed too: %v", err)
	}
}

func TestDrainIdle(t *testing.T) {
	c, _ := accepted(t)
	if !c.Idle(true) {
		t.Fatal("may not wait although nobody asked it to end")
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		ended <- err
	}()
	c.Drain()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the wait ended with %v", err)
	}
	if !c.Draining() || c.Idle(true) {
		t.Error("a connection that drains may not wait again")
	}
}

func TestDrainActive(t *testing.T) {
	c, client := accepted(t)
	c.Idle(false)
	c.Drain()
	if _, err := io.WriteString(client, "rest of the request"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 64)); n == 0 || err != nil {
		t.Errorf("an exchange under way was disturbed: %d, %v", n, err)
	}
	if !c.Draining() {
		t.Error("the connection does not know that it is to end")
	}
}

// TestRawConn takes a connection by its descriptor through its lives: attached,
// cut before that, and closed without either.
func TestRawConn(t *testing.T) {
	raw := func() (*Conn, *net.TCPConn) {
		c, client := accepted(t)
		fd, err := c.Detach()
		if err != nil {
			t.Fatal(err)
		}
		return NewRawConn(fd, c.Info), client
	}
	c, client := raw()
	if !c.Raw() {
		t.Error("it is attached already")
	}
	if err := c.Attach(); err != nil || c.Raw() {
		t.Fatalf("attaching: %v", err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5)
	if _, err := io.ReadFull(client, p); err != nil || string(p) != "hello" {
		t.Errorf("the client read %q, %v", p, err)
	}
	c.Close()

	c, client = raw()
	c.Cut()
	if err := c.Attach(); !errors.Is(err, ErrDraining) {
		t.Errorf("attaching what was cut: %v", err)
	}
	told := 0
	c.OnClose(func(*Conn) { told++ })
	c.Close()
	c.Close()
	if _, err := client.Read(p); err == nil || told != 1 {
		t.Errorf("read ended with %v, the close was told %d times", err, told)
	}

	c, client = raw()
	c.Close()
	if _, err := client.Read(p); err != io.EOF {
		t.Errorf("read of what was closed ended with %v", err)
	}
}
