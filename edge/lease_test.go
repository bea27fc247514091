package edge_test

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestStreamsLetSnapshotsGo holds streams of each kind open over a change: what
// they were routed by is forgotten, though their hooks, and logs, are still to
// come.
func TestStreamsLetSnapshotsGo(t *testing.T) {
	servers := startStormServers(t)
	text := `
node:
  listeners:
    - {name: tcp, address: "127.0.0.1:0", serve: tcp, plugins: [{name: ip-restriction, config: {deny: [192.0.2.1]}}]}
    - {name: tls, address: "127.0.0.1:0", serve: tls}
    - {name: udp, address: "127.0.0.1:0", serve: udp}
services:
  - {name: tcp, url: "tcp://` + servers.tcp + `", routes: [{name: tcp, protocols: [tcp], sources: [{ip: 127.0.0.0/8}]}, {name: ended, protocols: [tls], snis: [end.test]}]}
  - {name: pass, url: "tcp://` + servers.tls + `", routes: [{name: pass, protocols: [tls_passthrough], snis: [pass.test]}]}
  - {name: udp, url: "udp://` + servers.udp + `", routes: [{name: udp, protocols: [udp], sources: [{ip: 127.0.0.0/8}]}]}
`
	e := testkit.StartEdge(t, text)
	plain, over := e.At("tcp").String(), e.At("tls").String()
	dials := []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", plain) },
		func() (net.Conn, error) {
			return tls.Dial("tcp", over, &tls.Config{ServerName: "end.test", InsecureSkipVerify: true})
		},
		func() (net.Conn, error) {
			return tls.Dial("tcp", over, &tls.Config{ServerName: "pass.test", InsecureSkipVerify: true})
		},
		func() (net.Conn, error) { return net.Dial("udp", e.At("udp").String()) },
	}
	var open []net.Conn
	exchange := func(c net.Conn) {
		t.Helper()
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 100)); n == 0 {
			t.Fatalf("the stream of %s: %v", c.RemoteAddr(), err)
		}
	}
	for _, dial := range dials {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
		exchange(c)
	}
	old := weak.Make(e.Current())
	if n := old.Value().Users(); n != int64(1+len(open)) {
		t.Errorf("the snapshot is held %d times, want one more than the %d streams", n, len(open))
	}
	if err := e.Use(strings.Replace(text, "name: udp, protocols", "name: changed, protocols", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old snapshot to be forgotten", func() bool {
		runtime.GC()
		return old.Value() == nil
	})
	for _, c := range open {
		exchange(c)
	}
	if err := e.Use("node: {listeners: [], drain: 0s}"); err != nil { // the flow would be waited for
		t.Error(err)
	}
}
