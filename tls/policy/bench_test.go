package policy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// BenchmarkHandshake shakes hands over a socket, client and server in one
// process: profiles tell them apart.
func BenchmarkHandshake(b *testing.B) {
	pair := pki.SelfSigned(b, "server.test").TLS()
	for _, tt := range []struct {
		name    string
		resumed bool
		curve   tls.CurveID
	}{
		{"full X25519", false, tls.X25519},
		{"full X25519MLKEM768", false, tls.X25519MLKEM768},
		{"resumed X25519", true, tls.X25519},
	} {
		b.Run(tt.name, func(b *testing.B) {
			s, err := New(Options{
				Policies: Builtin(), Default: "intermediate", Protocols: true, Tickets: NewTickets(NewKeys(), "", 12*time.Hour),
				GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
			})
			if err != nil {
				b.Fatal(err)
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			served := make(chan struct{})
			go serveHandshakes(ln, s, served)
			defer func() {
				ln.Close()
				<-served
			}()
			cfg := &tls.Config{ServerName: "server.test", InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tt.curve}}
			if tt.resumed {
				cfg.ClientSessionCache = &oneSession{}
			}
			b.ReportAllocs()
			for b.Loop() {
				raw, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				c := tls.Client(raw, cfg)
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					b.Fatal(err)
				}
				raw.Close()
			}
		})
	}
}

func serveHandshakes(ln net.Listener, s *Set, served chan<- struct{}) {
	defer close(served)
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		cfg, client := s.Server(patience)
		c := tls.Server(raw, cfg)
		if c.HandshakeContext(context.Background()) == nil {
			st := c.ConnectionState()
			s.Settle(client, &st)
			_, _ = io.WriteString(c, "x")
		}
		raw.Close()
	}
}
