package hello

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// digest returns the first digits of a text's hash.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:12]
}

// listed returns n numbers from first on, as a fingerprint hashes them.
func listed(first, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%04x", first+i))
	}
	return strings.Join(list, ",")
}

// replay is a connection that has nothing but a client's bytes.
type replay struct {
	net.Conn
	b []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

func (*replay) Write(p []byte) (int, error)     { return len(p), nil }
func (*replay) Close() error                    { return nil }
func (*replay) SetDeadline(time.Time) error     { return nil }
func (*replay) SetReadDeadline(time.Time) error { return nil }

// standard returns how crypto/tls reads a hello, nil if it refuses it.
func standard(b []byte) (hello *tls.ClientHelloInfo) {
	server := tls.Server(&replay{b: b}, &tls.Config{
		MinVersion: tls.VersionTLS10,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = h
			return nil, errors.New("seen")
		},
	})
	_ = server.Handshake()
	return hello
}

// agree holds that crypto/tls reads the same in a hello as we do.
func agree(t testing.TB, info *Info, hello *tls.ClientHelloInfo) {
	t.Helper()
	schemes := make([]uint16, 0, len(hello.SignatureSchemes))
	for _, s := range hello.SignatureSchemes {
		schemes = append(schemes, uint16(s))
	}
	curves := make([]uint16, 0, len(hello.SupportedCurves))
	for _, c := range hello.SupportedCurves {
		curves = append(curves, uint16(c))
	}
	type view struct {
		Name, Protocols                             string
		Ciphers, Extensions, Schemes, Curves, Known []uint16
	}
	ours := view{
		info.ServerName, fmt.Sprintf("%q", info.ALPN), slices.Collect(info.CipherSuites.All()), slices.Collect(info.Extensions.All()),
		slices.Collect(info.SignatureAlgorithms.All()), slices.Collect(info.Groups.All()), slices.Collect(info.Versions.All()),
	}
	theirs := view{
		strings.ToLower(hello.ServerName), fmt.Sprintf("%q", hello.SupportedProtos), hello.CipherSuites, hello.Extensions,
		schemes, curves, hello.SupportedVersions,
	}
	if len(ours.Known) == 0 {
		theirs.Known = nil // made up from the legacy version
	}
	if diff := cmp.Diff(theirs, ours, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-crypto/tls +hello:\n%s", diff)
	}
}

// caught is a listener that takes one connection's hello and refuses it.
type caught struct {
	addr  string
	hello chan []byte // one hello, or closed
}

func catch(t *testing.T) *caught {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &caught{ln.Addr().String(), make(chan []byte, 1)}
	done := make(chan struct{})
	t.Cleanup(func() {
		ln.Close()
		<-done
	})
	go func() {
		defer close(done)
		defer close(c.hello)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		var b []byte
		for {
			info, size, err := Parse(b)
			if err != nil || info != nil {
				break
			}
			more := make([]byte, size-len(b))
			if _, err := io.ReadFull(conn, more); err != nil {
				break
			}
			b = append(b, more...)
		}
		c.hello <- b
		_, _ = io.WriteString(conn, AlertUnrecognizedName)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}()
	return c
}

// TestStandardClient parses the hellos that crypto/tls makes, and refuses them.
func TestStandardClient(t *testing.T) {
	tests := []struct {
		name string
		cfg  *tls.Config
		ja4  string // its first part, which the client's version hardly changes
	}{
		{"default", &tls.Config{ServerName: "WWW.example.com", NextProtos: []string{"h2", "http/1.1"}}, "t13d"},
		{"TLS 1.2", &tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}, "t12d"},
		{"an address", &tls.Config{ServerName: "127.0.0.1", NextProtos: []string{"acme-tls/1"}}, "t13i"},
		{"one group", &tls.Config{ServerName: "a.example", CurvePreferences: []tls.CurveID{tls.X25519}}, "t13d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := catch(t)
			conn, err := net.Dial("tcp", c.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			err = tls.Client(conn, tt.cfg).Handshake()
			if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
				t.Errorf("the client says %v", err)
			}
			b := <-c.hello
			info := parse(t, b)
			if hello := standard(b); hello == nil {
				t.Error("crypto/tls refuses its own hello")
			} else {
				agree(t, info, hello)
			}
			if got := info.JA4(); !strings.HasPrefix(got, tt.ja4) {
				t.Errorf("JA4 is %s, want %s...", got, tt.ja4)
			}
		})
	}
}

func TestIntegrationClients(t *testing.T) {
	tests := []struct {
		name string
		args func(addr, port string) []string
		alpn []string
		tell string // part of what the program says
	}{
		{"openssl", func(addr, _ string) []string {
			return []string{"openssl", "s_client", "-connect", addr, "-servername", "WWW.Example.com", "-alpn", "h2,http/1.1"}
		}, []string{"h2", "http/1.1"}, "unrecognized name"},
		{"openssl in small records", func(addr, _ string) []string {
			return []string{"openssl", "s_client", "-connect", addr, "-servername", "www.example.com", "-max_send_frag", "512", "-alpn", strings.Repeat("a-long-protocol,", 60) + "h2"}
		}, append(slices.Repeat([]string{"a-long-protocol"}, 60), "h2"), "unrecognized name"},
		{"openssl TLS 1.2", func(addr, _ string) []string {
			return []string{"openssl", "s_client", "-connect", addr, "-servername", "www.example.com", "-tls1_2"}
		}, nil, "unrecognized name"},
		{"curl", func(_, port string) []string {
			return []string{"curl", "-sS", "-k", "--noproxy", "*", "--resolve", "www.example.com:" + port + ":127.0.0.1", "https://www.example.com:" + port + "/"}
		}, []string{"h2", "http/1.1"}, "unrecognized name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := catch(t)
			_, port, err := net.SplitHostPort(c.addr)
			if err != nil {
				t.Fatal(err)
			}
			args := tt.args(c.addr, port)
			cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
			cmd.Stdin = strings.NewReader("")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !bytes.Contains(out, []byte(tt.tell)) {
				t.Errorf("error %v, and it says:\n%s", err, out)
			}
			b := <-c.hello
			info := parse(t, b)
			if info.ServerName != "www.example.com" || !slices.Equal(info.ALPN, tt.alpn) {
				t.Errorf("got %q and %q", info.ServerName, info.ALPN)
			}
			hello := standard(b)
			if hello == nil {
				t.Fatal("crypto/tls refuses the hello")
			}
			agree(t, info, hello)
		})
	}
}
