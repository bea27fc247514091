package forward

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// socketPair returns a socket of ours and its peer.
func socketPair(t *testing.T) (ours *sock.Conn, peer *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if ours, err = sock.New(c.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	_ = p.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() {
		ours.Close()
		p.Close()
	})
	return ours, p.(*net.TCPConn)
}

// TestTunnelEnds breaks one side of a tunnel off while both talk: the tunnel ends
// then, and its two directions do not get into each other's way.
func TestTunnelEnds(t *testing.T) {
	for range 20 {
		client, clientPeer := socketPair(t)
		server, serverPeer := socketPair(t)
		tun := &tunnel{idle: patience, client: client, upstream: server}
		tun.lastActive.Store(sock.Now())
		var peers sync.WaitGroup
		for _, p := range []*net.TCPConn{clientPeer, serverPeer} {
			peers.Go(func() {
				for {
					if _, err := p.Write([]byte("some bytes")); err != nil {
						return
					}
				}
			})
			peers.Go(func() {
				b := make([]byte, 64)
				for {
					if _, err := p.Read(b); err != nil {
						return
					}
				}
			})
		}
		timer := time.AfterFunc(5*time.Millisecond, func() {
			_ = clientPeer.SetLinger(0)
			clientPeer.Close()
		})
		tun.run()
		timer.Stop()
		server.Close()
		client.Close()
		peers.Wait()
	}
}

// brokenTunnel panics when it is read from.
type brokenTunnel struct{ l7.Tunnel }

func (brokenTunnel) Read([]byte) (int, error) { panic("out of order") }

// TestTunnelPanic shows that a panic in either direction ends both, and is
// recovered: by the tunnel, or by the exchange whose goroutine it was on.
func TestTunnelPanic(t *testing.T) {
	for _, side := range []string{"client", "upstream"} {
		t.Run(side, func(t *testing.T) {
			client, clientPeer := socketPair(t)
			server, serverPeer := socketPair(t)
			var panics telemetry.Counter
			tun := &tunnel{idle: time.Hour, client: client, upstream: server, panics: &panics}
			want := uint64(1)
			if side == "client" {
				tun.client = brokenTunnel{client}
			} else {
				tun.upstream = brokenTunnel{server}
				want = 0
			}
			tun.lastActive.Store(sock.Now())
			recovered := func() (v any) {
				defer func() { v = recover() }()
				tun.run()
				return nil
			}()
			if (recovered != nil) != (side == "upstream") || panics.Load() != want {
				t.Errorf("recovered %v, %d counted", recovered, panics.Load())
			}
			client.Close()
			server.Close()
			for _, p := range []*net.TCPConn{clientPeer, serverPeer} {
				if _, err := io.ReadAll(p); err != nil {
					t.Errorf("the peer's side: %v", err)
				}
			}
		})
	}
}
