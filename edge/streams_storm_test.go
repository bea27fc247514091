package edge_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/tls/certs"
)

// How many streams of a kind are open throughout the storm.
const (
	stormTCP         = 12
	stormPassthrough = 6
	stormTerminated  = 4
	stormUDP         = 12
	stormShort       = 2 // clients that open one stream after the other
)

// stormServers are what the streams of a storm go to.
type stormServers struct{ tcp, other, tls, udp string }

func startStormServers(t *testing.T) stormServers {
	t.Helper()
	echo := func(c net.Conn) { _, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return stormServers{
		tcp: testkit.StartTCP(t, echo), other: testkit.StartTCP(t, echo), udp: startPacketSayer(t, "echo"),
		tls: testkit.StartTCP(t, func(c net.Conn) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*cert}})
			echo(s)
			s.Close()
		}),
	}
}

// configs are what the storm goes round: listeners, routes, services, plugins
// and where new streams go change, of all that the open ones run on.
func (s stormServers) configs(t *testing.T) (all []*config.Config) {
	t.Helper()
	text := func(tcp, listeners, route, more string) string {
		return fmt.Sprintf(`_format_version: "3.0"
node:
  status: "off"
  log: {access: "off"}
  listeners:
    - {name: tcp, address: "127.0.0.1:0", serve: tcp}
    - {name: tls, address: "127.0.0.1:0", serve: tls}
    - {name: udp, address: "127.0.0.1:0", serve: udp}
    - {name: asked, address: "127.0.0.1:0", serve: udp, answers: 1}
%[2]s
services:
  - {name: tcp, url: "tcp://%[1]s", %[3]s routes: [{name: tcp, protocols: [tcp], sources: [{ip: 127.0.0.0/8}]}, {name: ended, protocols: [tls], snis: [end.test]}]}
  - {name: pass, url: "tcp://%[5]s", %[3]s routes: [{name: pass, protocols: [tls_passthrough], snis: [pass.test]}]}
  - {name: udp, url: "udp://%[6]s", %[3]s routes: [{name: udp, protocols: [udp], sources: [{ip: 127.0.0.0/8}]}]}
%[4]s
`, tcp, listeners, route, more, s.tls, s.udp)
	}
	const extra = `    - {name: extra, address: "127.0.0.1:0", serve: tls, plugins: [{name: ip-restriction, config: {deny: [192.0.2.1]}}]}` + "\n" +
		`    - {name: flows, address: "127.0.0.1:0", serve: udp}`
	for _, src := range []string{
		text(s.tcp, "", "", ""),
		text(s.other, extra, "", "  - {name: more, url: \"tcp://192.0.2.1:1\", routes: [{name: more, protocols: [tls], snis: [\"*.more.test\"]}]}"),
		text(s.tcp, "", "read_timeout: 50000,", "plugins: [{name: prometheus, protocols: [tcp, tls, tls_passthrough, udp], config: {bandwidth_metrics: true}}]"),
		text(s.other, extra, "retries: 1,", "plugins: [{name: ip-restriction, protocols: [tcp, tls], config: {deny: [192.0.2.1]}}]"),
	} {
		cfg, err := config.Load([]byte(src), catalog.All(), config.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, cfg)
	}
	return all
}

// stormStreams are streams that are open all the time and in use.
type stormStreams struct {
	*load
	opened atomic.Int64 // streams that have had their first answer
}

// hold runs exchanges on a stream until the load stops. It has failed if one of
// them has.
func (s *stormStreams) hold(open func() (exchange func(seed *rand.Rand) error, end func() error, err error), seed uint64) {
	s.work.Go(func() {
		exchange, end, err := open()
		random := rand.New(rand.NewPCG(seed, 1))
		for first := true; err == nil && !s.stop.Load(); first = false {
			if err = exchange(random); err == nil {
				s.done.Add(1)
			}
			if first && err == nil {
				s.opened.Add(1)
			}
		}
		if err == nil {
			err = end()
		}
		if err != nil {
			s.fail(err)
		}
	})
}

func (s *stormStreams) fail(err error) {
	s.lost.Add(1)
	select {
	case s.failed <- err:
	default:
	}
}

// overStream exchanges texts of up to 40 KB on a connection: every byte comes
// back, and when it has ended its writing the end does.
func overStream(c net.Conn) (exchange func(*rand.Rand) error, end func() error) {
	sent, got := make([]byte, 40<<10), make([]byte, 40<<10)
	exchange = func(random *rand.Rand) error {
		n := 1 + random.IntN(100)
		if random.IntN(20) == 0 {
			n = 1 + random.IntN(len(sent))
		}
		for i := range sent[:n] {
			sent[i] = byte(random.Uint32())
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		wrote := make(chan error, 1)
		go func() {
			_, err := c.Write(sent[:n])
			wrote <- err
		}()
		_, err := io.ReadFull(c, got[:n])
		if w := <-wrote; w != nil || err != nil {
			return fmt.Errorf("writing: %w; reading: %w", w, err)
		}
		if !bytes.Equal(sent[:n], got[:n]) {
			return fmt.Errorf("%d bytes came back as others", n)
		}
		return nil
	}
	end = func() error {
		defer c.Close()
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			return err
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			return fmt.Errorf("after the end came %d bytes, %w", len(rest), err)
		}
		return nil
	}
	return exchange, end
}

// tcpStream opens streams at an address, over TLS if there is a server name.
func tcpStream(addr, name string) func() (func(*rand.Rand) error, func() error, error) {
	return func() (func(*rand.Rand) error, func() error, error) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		if name != "" {
			c = tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		}
		exchange, end := overStream(c)
		return exchange, end, nil
	}
}

// udpFlow opens flows at an address: each datagram has its own answer and no
// other one.
func udpFlow(addr string) func() (func(*rand.Rand) error, func() error, error) {
	return func() (func(*rand.Rand) error, func() error, error) {
		c, err := net.Dial("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		n, got := 0, make([]byte, 2<<10)
		exchange := func(random *rand.Rand) error {
			n++
			sent := fmt.Sprintf("%s %d %s", c.LocalAddr(), n, strings.Repeat("x", random.IntN(1000)))
			_ = c.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(c, sent); err != nil {
				return err
			}
			k, err := c.Read(got)
			if err == nil && string(got[:k]) != "echo "+sent {
				err = fmt.Errorf("%q was answered %q", sent, got[:k])
			}
			return err
		}
		return exchange, c.Close, nil
	}
}

// short opens streams one after the other, each for an exchange.
func (s *stormStreams) short(seed uint64, kinds ...func() (func(*rand.Rand) error, func() error, error)) *load {
	l := &load{failed: s.failed}
	l.work.Go(func() {
		random := rand.New(rand.NewPCG(seed, 2))
		for i := 0; !l.stop.Load(); i++ {
			exchange, end, err := kinds[i%len(kinds)]()
			if err == nil {
				if err = exchange(random); err == nil {
					l.done.Add(1)
				}
				if e := end(); err == nil {
					err = e
				}
			}
			if err != nil {
				s.fail(err)
			}
		}
	})
	return l
}

// descriptors counts what the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// TestReloadStormStreams changes the configuration under streams and flows that
// exchange data all the while: none of them breaks, not a byte or datagram is
// lost, and what the changes took is given back.
func TestReloadStormStreams(t *testing.T) {
	before := testkit.Goroutines()
	t.Run("storm", func(t *testing.T) {
		servers := startStormServers(t)
		e := testkit.StartEdge(t, "node: {listeners: []}")
		all := servers.configs(t)
		snapshots := make(map[*edge.Snapshot]bool)
		apply := func(cfg *config.Config) {
			t.Helper()
			prev := e.Current()
			cfg, changed := cfg.Adopt(prev.Config)
			s, err := edge.Compile(cfg, changed, prev, e.Env())
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Apply(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			snapshots[s] = true
		}
		apply(all[0])
		first := e.Current()
		s := &stormStreams{load: &load{failed: make(chan error, 1)}}
		plain, over, udp, asked := e.At("tcp").String(), e.At("tls").String(), e.At("udp").String(), e.At("asked").String()
		for kind, k := range []struct {
			n    int
			open func() (func(*rand.Rand) error, func() error, error)
		}{{stormTCP, tcpStream(plain, "")}, {stormPassthrough, tcpStream(over, "pass.test")}, {stormTerminated, tcpStream(over, "end.test")}, {stormUDP, udpFlow(udp)}} {
			for i := range k.n {
				s.hold(k.open, uint64(100*kind+i))
			}
		}
		eventually(t, "all streams to be open", func() bool {
			return s.opened.Load() == stormTCP+stormPassthrough+stormTerminated+stormUDP || s.lost.Load() > 0
		})
		held := first.Users()
		goroutines, open := runtime.NumGoroutine(), descriptors(t)
		var short []*load
		for i := range stormShort {
			short = append(short, s.short(uint64(i), tcpStream(plain, ""), udpFlow(asked), tcpStream(over, "pass.test"), tcpStream(over, "end.test")))
		}
		for i := 1; i <= reloads && s.lost.Load() == 0; i++ {
			apply(all[i%len(all)])
			s.more(t, 200)
		}
		apply(all[0])
		var passing int64
		for _, l := range short {
			l.stop.Store(true)
			l.work.Wait()
			passing += l.done.Load()
		}
		delete(snapshots, first)
		delete(snapshots, e.Current())
		s.settled(t, snapshots, goroutines, open)
		if n := first.Users(); n != held-1 { // it serves no more, but for what is open
			t.Errorf("the first snapshot is held %d times, want %d as before but for the edge's own", n, held-1)
		}
		s.end(t)
		eventually(t, "the first snapshot to be held by flows alone", func() bool { return first.Users() <= stormUDP })
		t.Logf("%d exchanges on streams that lasted, and %d short streams, over %d reloads", s.done.Load(), passing, reloads)
	})
	if left := testkit.Leaked(before); len(left) > 0 {
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	}
}

// settled waits until nothing is left of what the storm has brought.
func (s *stormStreams) settled(t *testing.T, gone map[*edge.Snapshot]bool, goroutines, open int) {
	t.Helper()
	eventually(t, "goroutines and descriptors to be what they were", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= open
	})
	for snapshot := range gone {
		eventually(t, "no snapshot between to be held", func() bool { return snapshot.Users() == 0 })
	}
}
