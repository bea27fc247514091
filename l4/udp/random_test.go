package udp

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// world is a listener under random use: clients that send, upstreams that
// answer once, often, late or never, or go away, and a Handler that decides at
// random. It knows which flows there must be, and finds faults.
type world struct {
	t      *testing.T
	engine *Engine
	port   *Port

	mu        sync.Mutex
	rng       *rand.Rand
	upstreams []netip.AddrPort
	open      map[int]netip.Addr // admitted flows that were not closed, with their client
	closed    map[int]int        // how often each was
	perClient map[netip.Addr]int
	last      int
	reasons   map[Reason]int

	mixed, answers atomic.Int64
}

const (
	worldFlows     = 40
	worldPerClient = 6
	worldClients   = 60
	worldAddresses = 12
)

func (w *world) random(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

func (w *world) Admit(d *Datagram) Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	decision := w.decide()
	if decision.Verdict == Forward && w.rng.IntN(5) == 0 {
		decision.Verdict = Wait
	} else if decision.Verdict == Forward && w.rng.IntN(5) == 0 {
		decision.Verdict = More
	}
	if decision.Verdict == Drop {
		return decision
	}
	w.last++
	decision.Cookie = w.last
	addr := d.Client.Addr()
	w.open[w.last] = addr
	w.perClient[addr]++
	if n := len(w.open); n > worldFlows {
		w.t.Errorf("%d flows are open, at most %d may be", n, worldFlows)
	}
	if n := w.perClient[addr]; n > worldPerClient {
		w.t.Errorf("%s has %d flows, at most %d may be", addr, n, worldPerClient)
	}
	return decision
}

// decide is called with mu held.
func (w *world) decide() Decision {
	if w.rng.IntN(10) == 0 {
		return Decision{}
	}
	return Decision{
		Verdict: Forward, Upstream: w.upstreams[w.rng.IntN(len(w.upstreams))],
		Idle: time.Duration(1+w.rng.IntN(150)) * time.Millisecond, Answers: w.rng.IntN(3),
	}
}

func (w *world) Resolve(ctx context.Context, _ *Datagram, _ any) Decision {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(w.random(20)) * time.Millisecond):
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.decide()
}

func (w *world) Next([]byte, any) Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.rng.IntN(4) {
	case 0:
		return Decision{Verdict: More}
	case 1:
		return Decision{Verdict: Wait}
	}
	return w.decide()
}

func (w *world) Closed(f *Flow, end End) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := f.Cookie.(int)
	w.closed[id]++
	addr, ok := w.open[id]
	if !ok || addr != f.Client().Addr() {
		w.t.Errorf("flow %d of %s was closed, which is open: %t, and of %s", id, f.Client(), ok, addr)
	}
	delete(w.open, id)
	w.perClient[addr]--
	w.reasons[end.Reason]++
	if silent := time.Duration(f.lane.loop.Now() - f.Last()); end.Reason == Idle && silent < f.Idle() {
		w.t.Errorf("flow %d was closed as idle after %s of %s", id, silent, f.Idle())
	}
	if f.Sent().Datagrams > f.UpstreamReceived().Datagrams {
		w.t.Errorf("flow %d sent more to its client than came for it", id)
	}
}

// upstream answers until stop, and now and then closes its socket and opens one
// on the same port, so that datagrams meet nobody.
func (w *world) upstream(c *net.UDPConn, stop <-chan struct{}) {
	at := addrOf(c)
	b := make([]byte, 2048)
	for {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		n, from, err := c.ReadFromUDPAddrPort(b)
		select {
		case <-stop:
			c.Close()
			return
		default:
		}
		if w.random(300) == 0 {
			c.Close()
			time.Sleep(time.Duration(w.random(5)) * time.Millisecond)
			again, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
			if err != nil {
				return // its port was taken meanwhile; the others go on
			}
			c = again
			continue
		}
		if err != nil {
			continue
		}
		for range [...]int{0, 1, 1, 1, 1, 2, 5}[w.random(7)] {
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}
}

// client sends, and looks whether what comes is its own.
func (w *world) client(c *net.UDPConn, id uint32, sends int) {
	b := make([]byte, 2048)
	for i := range sends {
		for range 1 + w.random(4) {
			n := 8 + w.random(1200)
			binary.BigEndian.PutUint32(b, id)
			binary.BigEndian.PutUint32(b[4:], uint32(i))
			_, _ = c.Write(b[:n])
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Duration(w.random(4)) * time.Millisecond))
		for {
			n, err := c.Read(b)
			if err != nil {
				break
			}
			w.answers.Add(1)
			if n < 8 || binary.BigEndian.Uint32(b) != id {
				w.mixed.Add(1)
			}
		}
		if w.random(20) == 0 {
			time.Sleep(time.Duration(w.random(200)) * time.Millisecond)
		}
	}
}

func TestRandomFlows(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	before := descriptors(t)
	w := &world{
		t: t, engine: New(Limits{Flows: worldFlows, Resolves: 4, HeldBytes: 20000}), rng: rand.New(rand.NewPCG(seed, 1)),
		open: make(map[int]netip.Addr), closed: make(map[int]int),
		perClient: make(map[netip.Addr]int), reasons: make(map[Reason]int),
	}
	stop := make(chan struct{})
	var upstreams, clients sync.WaitGroup
	for range 5 {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		w.upstreams = append(w.upstreams, addrOf(c))
		upstreams.Go(func() { w.upstream(c, stop) })
	}
	w.port = serve(t, w.engine, "127.0.0.1:0", 3, Options{Handler: w, Bounds: Bounds{FlowsPerAddress: worldPerClient, NewFlowsPerSecond: 200}})
	at := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(w.port.Addr()))
	for i := range worldClients {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 2, byte(i%worldAddresses))}, at)
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			defer c.Close()
			w.client(c, uint32(i), 60)
		})
	}
	clients.Wait()
	// Nobody speaks any more: every flow ends by itself.
	until(t, "the end of all flows", func() bool { return w.engine.Flows() == 0 && w.port.Counts().Flows == 0 })
	close(stop)
	upstreams.Wait()
	w.port.Close()
	w.check()
	if n := descriptors(t); n > before {
		t.Errorf("%d descriptors are open, %d were before", n, before)
	}
}

// check looks at what is left when all is closed.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.port.Counts()
	w.t.Logf("%d flows, %d answers, ended by %v, drops %v", w.last, w.answers.Load(), w.reasons, c.Drops)
	if n := w.mixed.Load(); n > 0 {
		w.t.Errorf("%d answers came to another client", n)
	}
	if len(w.open) > 0 {
		w.t.Errorf("flows that were never closed: %v", w.open)
	}
	for id, n := range w.closed {
		if n != 1 {
			w.t.Errorf("flow %d was closed %d times", id, n)
		}
	}
	if w.last == 0 || w.answers.Load() == 0 || w.reasons[Idle] == 0 || c.Opened != uint64(w.last) {
		w.t.Errorf("the world stood still: %d flows, %d by the counts, %d answers", w.last, c.Opened, w.answers.Load())
	}
	for addr, n := range w.perClient {
		if n != 0 {
			w.t.Errorf("%s has %d flows at the end", addr, n)
		}
	}
	if n := w.engine.held.Load(); n != 0 || w.engine.resolves.Load() != 0 {
		w.t.Errorf("%d bytes and %d calls are left", n, w.engine.resolves.Load())
	}
	for _, tenant := range w.port.tenants.all {
		if tenant.flows != 0 {
			w.t.Errorf("a client is left with %d flows", tenant.flows)
		}
	}
}
