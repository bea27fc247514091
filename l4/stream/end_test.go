package stream_test

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l4/stream"
	"github.com/bulwark-edge/bulwark/upstream"
)

// TestCutWhileShakingHands cuts a stream whose upstream has not answered the
// handshake yet: that is no failure of the upstream.
func TestCutWhileShakingHands(t *testing.T) {
	b := newBench(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	route := b.route(nil)
	target := silent.Addr().(*net.TCPAddr).AddrPort()
	route.Service.Balancer = upstream.NewBalancer(b.set, upstream.Spec{
		Targets: []upstream.Target{{Host: target.Addr().String(), Port: target.Port(), Weight: 1}},
		Checks:  upstream.Checks{On: true, Passive: upstream.CheckRules{TCPFailures: 1, Timeouts: 1}},
	}, nil)
	route.Service.Identity = upstream.NewIdentity(upstream.IdentityConfig{})

	_, c := b.conn()
	closed := make(chan struct{})
	c.OnClose(func(*l4.Conn) { close(closed) })
	served := make(chan struct{})
	go func() {
		defer close(served)
		b.server.ServeConn(c, b.pipeline, route, config.TCP)
	}()
	held, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	c.Cut()
	<-served
	<-closed
	e := b.entry()
	if tries := e["tries"].([]any); e["reason"] != "draining" || len(tries) != 1 || tries[0].(map[string]any)["reason"] != "draining" {
		t.Errorf("log entry %v", e)
	}
	if !route.Service.Balancer.Endpoints()[0].Healthy() {
		t.Error("the upstream counts as failed")
	}
}

// conn returns the client's end of a connection, and ours.
func (b *bench) conn() (client net.Conn, ours *l4.Conn) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close() })
	nc, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	s, err := sock.New(nc.(*net.TCPConn))
	if err != nil {
		b.Fatal(err)
	}
	return client, l4.NewConn(s, l4.NewInfo("tcp", nc.RemoteAddr().(*net.TCPAddr).AddrPort(), nc.LocalAddr().(*net.TCPAddr).AddrPort()))
}

// TestPanicBeforeFlow lets what judges the clients of a UDP listener panic: the
// snapshot is let go of.
func TestPanicBeforeFlow(t *testing.T) {
	b := newBench(t)
	router, err := l4.NewRouter(nil)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	local := socket.LocalAddr().(*net.UDPAddr).AddrPort()
	var acquired atomic.Int32
	acquire := func(string) stream.Site {
		acquired.Add(1)
		return stream.Site{Pipeline: b.pipeline, Router: router, Refuses: func(*l4.Info) bool { panic("test") }}
	}
	draining := make(chan struct{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		b.server.ServePackets(context.Background(), l4.NewPackets("udp", []*net.UDPConn{socket}, local, draining), acquire)
	}()
	client, err := net.Dial("udp", local.String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); b.metrics.Panics.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	close(draining)
	<-served
	if got, want := b.released.Load(), acquired.Load(); got != want || b.metrics.Panics.Load() != 1 {
		t.Errorf("%d panics, and of %d holds of the snapshot %d were given back", b.metrics.Panics.Load(), want, got)
	}
}
