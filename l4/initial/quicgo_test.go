package initial

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/bulwark-edge/bulwark/tls/hello"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// dialed has quic-go connect to a socket of ours, calls seen with each datagram
// that comes until it reports that it has enough, and lets the client go.
func dialed(t *testing.T, tlsConfig *tls.Config, config *quic.Config, seen func(datagram []byte) (enough bool)) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	done := make(chan error, 1)
	go func() {
		conn, err := quic.DialAddr(ctx, server.LocalAddr().String(), tlsConfig, config)
		if err == nil {
			_ = conn.CloseWithError(0, "")
		}
		done <- err
	}()
	defer func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the client ends with %v", err)
		}
	}()
	_ = server.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 64<<10); ; {
		n, _, err := server.ReadFrom(b)
		if err != nil {
			t.Error(err)
			return
		}
		if seen(b[:n]) {
			return
		}
	}
}

// TestClient reads the hellos that quic-go makes.
func TestClient(t *testing.T) {
	const long = "a-protocol-with-a-long-name-"
	var many []string
	for i := range 80 {
		many = append(many, long+strings.Repeat("x", i))
	}
	tests := []struct {
		name    string
		tls     tls.Config
		version quic.Version
		split   bool // over several datagrams
		group   tls.CurveID
	}{
		{"version 1, post-quantum", tls.Config{ServerName: "WWW.example.com", NextProtos: []string{"h3"}}, quic.Version1, true, tls.X25519MLKEM768},
		{"version 2, post-quantum", tls.Config{ServerName: "www.example.com", NextProtos: []string{"h3"}}, quic.Version2, true, tls.X25519MLKEM768},
		{"version 1, classic", tls.Config{ServerName: "www.example.com", NextProtos: []string{"h3"}, CurvePreferences: []tls.CurveID{tls.X25519}}, quic.Version1, false, tls.X25519},
		{"version 2, classic", tls.Config{ServerName: "www.example.com", NextProtos: []string{"h3"}, CurvePreferences: []tls.CurveID{tls.X25519}}, quic.Version2, false, tls.X25519},
		{"many protocols", tls.Config{ServerName: "www.example.com", NextProtos: many}, quic.Version1, true, tls.X25519MLKEM768},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			var a *Assembler
			var info *hello.Info
			datagrams := 0
			dialed(t, &tt.tls, &quic.Config{Versions: []quic.Version{tt.version}}, func(b []byte) bool {
				datagrams++
				h, err := ParseHeader(b, 0)
				if err != nil {
					t.Error(err)
					return true
				}
				if h.Type != TypeInitial || h.Version != uint32(tt.version) || !h.Fixed {
					t.Errorf("header %+v", h)
					return true
				}
				if a == nil {
					if a, err = NewAssembler(h.Version, h.DCID); err != nil {
						t.Error(err)
						return true
					}
				}
				if info, err = a.Add(b); err != nil {
					t.Error(err)
				}
				return info != nil || err != nil
			})
			if info == nil {
				t.Fatal("there is no hello")
			}
			if info.ServerName != "www.example.com" || !slices.Equal(info.ALPN, tt.tls.NextProtos) || !info.QUIC || !info.Groups.Has(uint16(tt.group)) {
				t.Errorf("got %+v", info)
			}
			if split := datagrams > 1; split != tt.split {
				t.Errorf("it took %d datagrams", datagrams)
			}
			if got := info.JA4(); !strings.HasPrefix(got, "q13d03") {
				t.Errorf("JA4 is %s", got)
			}
		})
	}
}

// TestServerKnows holds what we read against what a server of quic-go reads in
// the same connection, whose datagrams we pass on.
func TestServerKnows(t *testing.T) {
	reads := make(chan tls.ClientHelloInfo, 1)
	config := &tls.Config{
		NextProtos: []string{"h3"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			select {
			case reads <- *h:
			default: // what was sent again has begun another connection
			}
			return nil, errors.New("seen")
		},
	}
	ln, err := quic.ListenAddr("127.0.0.1:0", config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	toServer, err := net.Dial("udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer toServer.Close()
	var a *Assembler
	var ours *hello.Info
	dialed(t, &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h3", "other"}}, nil, func(b []byte) bool {
		if a == nil {
			h, err := ParseHeader(b, 0)
			if err != nil {
				t.Error(err)
				return true
			}
			if a, err = NewAssembler(h.Version, h.DCID); err != nil {
				t.Error(err)
				return true
			}
		}
		var err error
		if ours, err = a.Add(b); err != nil {
			t.Error(err)
		}
		if _, err := toServer.Write(b); err != nil {
			t.Error(err)
		}
		return ours != nil || err != nil
	})
	if ours == nil {
		t.Fatal("there is no hello")
	}
	var theirs tls.ClientHelloInfo
	select {
	case theirs = <-reads:
	case <-time.After(patience):
		t.Fatal("the server has seen no hello")
	}
	if ours.ServerName != theirs.ServerName || !slices.Equal(ours.ALPN, theirs.SupportedProtos) ||
		!slices.Equal(slices.Collect(ours.CipherSuites.All()), theirs.CipherSuites) ||
		!slices.Equal(slices.Collect(ours.Extensions.All()), theirs.Extensions) {
		t.Errorf("we read %+v, the server %+v", ours, theirs)
	}
}
