package listeners

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// Spec is a listener as it is wanted.
type Spec struct {
	Name      string
	Network   string     // "tcp", which is meant also if it is empty, or "udp"
	Addr      netip.Addr // the zero value: every IPv4 and IPv6 address
	Port      uint16     // 0 lets the system choose
	ReusePort bool
	Limits    Limits // of TCP

	// Raw says that connections need not be read, but only passed on: they are
	// accepted by descriptor, see l4.NewRawConn, and the acceptor takes them over
	// without a goroutine of their own. It may change without opening the socket
	// anew.
	Raw bool

	// Proxies are the peers that must begin each connection with a PROXY
	// header. From all others none is believed. They may change without opening
	// the socket anew.
	Proxies []netip.Prefix
}

// Limits bound a listener. They may change without opening its socket anew.
type Limits struct {
	Connections           int           // open at once
	ConnectionsPerAddress int           // open at once from one client; 0: no bound
	ConnectionsPerNetwork int           // open at once from one network of clients; 0: no bound
	HeaderTimeout         time.Duration // for a PROXY header

	NewConnectionsPerSecond int           // of one client, and as many at once; 0: no bound
	BanTime                 time.Duration // of a client that goes over that rate; 0: it is not banned
}

// Set is the listeners of a process. Safe for concurrent use.
type Set struct {
	acceptor l4.Acceptor
	bans     *l4.Bans
	metrics  *telemetry.Metrics
	log      *slog.Logger
	most     atomic.Int64 // connections open at once, of all listeners
	open     atomic.Int64

	mu     sync.Mutex
	active map[string]*listener // those of TCP, by name
	udp    map[string]*packets  // those of UDP, by name
	work   sync.WaitGroup       // accept loops, connections being taken over, and UDP listeners
}

// NewSet returns a set without listeners, whose connections a serves, but for
// those of clients that are banned.
func NewSet(a l4.Acceptor, bans *l4.Bans, m *telemetry.Metrics, log *slog.Logger) *Set {
	return &Set{acceptor: a, bans: bans, metrics: m, log: log, active: make(map[string]*listener), udp: make(map[string]*packets)}
}

// Change is a prepared change of the set: its new sockets are bound, but accept
// nothing yet.
type Change struct {
	set    *Set
	most   int
	want   []Spec
	opened map[string]net.Listener
	bound  map[string]*packets // of UDP, those that are to begin
	kept   map[string]*packets // of UDP, those that go on, maybe by another name

	inherited map[string]bool // of the opened ones, those that were another listener's
}

// Prepare binds what want asks for beyond what is open. most bounds the open
// connections of all listeners. On error nothing has changed.
func (s *Set) Prepare(want []Spec, most int) (*Change, error) {
	c := &Change{
		set: s, most: most, want: want, opened: make(map[string]net.Listener), inherited: make(map[string]bool),
		bound: make(map[string]*packets), kept: make(map[string]*packets),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, spec := range want {
		if spec.Network == networkUDP {
			if err := c.preparePackets(spec); err != nil {
				errs = append(errs, err)
			}
			continue
		}
		if l := s.active[spec.Name]; l != nil && l.serves(spec) {
			continue
		}
		ln, err := s.inherit(spec)
		c.inherited[spec.Name] = ln != nil
		if ln == nil && err == nil {
			ln, err = bind(spec)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.opened[spec.Name] = ln
	}
	if len(errs) > 0 {
		c.Discard()
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// inherit returns a second handle on the socket of a listener of another name
// that serves what spec wants, so that a listener can be renamed while it
// serves. It returns nil if there is none. s.mu is held.
func (s *Set) inherit(spec Spec) (net.Listener, error) {
	for _, l := range s.active {
		if spec.Port == 0 || !l.serves(spec) {
			continue
		}
		f, err := l.ln.(*net.TCPListener).File()
		if err != nil {
			return nil, fmt.Errorf("taking over the socket of listener %q: %w", l.spec.Name, err)
		}
		defer f.Close()
		return net.FileListener(f)
	}
	return nil, nil
}

// Discard closes what Prepare has opened.
func (c *Change) Discard() {
	for _, ln := range c.opened {
		ln.Close()
	}
	for _, p := range c.bound {
		p.close()
	}
}

// Commit starts the new listeners, keeps the unchanged ones, and stops those
// that are gone. The connections of a stopped listener drain: idle ones end at
// once, others after their exchange, all of them when drain is over.
func (c *Change) Commit(drain time.Duration) {
	s := c.set
	s.most.Store(int64(c.most))
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := make(map[string]bool)
	for _, spec := range c.want {
		if spec.Network == networkUDP {
			continue
		}
		wanted[spec.Name] = true
		old := s.active[spec.Name]
		ln := c.opened[spec.Name]
		if ln == nil {
			old.change(spec)
			old.sharePort(spec.ReusePort)
			continue
		}
		if old != nil {
			s.retire(old, drain)
		}
		l := newListener(s, spec, ln)
		if c.inherited[spec.Name] {
			l.spec.ReusePort = !spec.ReusePort // the socket may have been another's, with the other setting
			l.sharePort(spec.ReusePort)
		}
		s.active[spec.Name] = l
		s.work.Go(l.acceptLoop)
	}
	for name, l := range s.active {
		if !wanted[name] {
			delete(s.active, name)
			s.retire(l, drain)
		}
	}
	c.commitPackets(drain)
}

// retire closes l's socket, so that no later connection comes to it, and lets l
// drain aside.
func (s *Set) retire(l *listener, drain time.Duration) {
	l.stop()
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		l.drain(ctx)
	})
}

// Addr returns where a listener is bound, for a port that the system chose.
func (s *Set) Addr(name string) (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.active[name]; l != nil {
		return l.addr(), true
	}
	if p := s.udp[name]; p != nil {
		return p.Local, true
	}
	return netip.AddrPort{}, false
}

// Shutdown stops accepting and drains every connection until ctx ends; those
// still open then are closed. It returns when all are gone.
func (s *Set) Shutdown(ctx context.Context) {
	s.mu.Lock()
	all := s.active
	s.active = make(map[string]*listener)
	udp := s.udp
	s.udp = make(map[string]*packets)
	s.mu.Unlock()
	var drains sync.WaitGroup
	for _, p := range udp {
		drains.Go(func() { p.drain(ctx) })
	}
	for _, l := range all {
		drains.Go(func() { l.drain(ctx) })
	}
	drains.Wait()
	s.work.Wait()
}

// networkUDP is Spec.Network of flows of datagrams.
const networkUDP = "udp"

// where returns what the net package calls the network and the address of spec.
// transport is tcp or udp.
func (s Spec) where(transport string) (network, addr string) {
	host := ""
	if s.Addr.IsValid() {
		host = s.Addr.String()
		transport += "6"
		if s.Addr.Is4() {
			transport = transport[:len(transport)-1] + "4"
		}
	}
	return transport, net.JoinHostPort(host, fmt.Sprint(s.Port))
}

// keepAlive finds clients that vanished without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}

// bind opens a listening socket.
func bind(spec Spec) (net.Listener, error) {
	network, addr := spec.where("tcp")
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	lc.Control = func(network, address string, c syscall.RawConn) error {
		if err := inheritable(c); err != nil || !spec.ReusePort {
			return err
		}
		return sharePort(network, address, c)
	}
	ln, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, fmt.Errorf("listening on %q for listener %q: %w%s", addr, spec.Name, err, advice(err))
	}
	return ln, nil
}

// inheritable sets what connections that are accepted by descriptor have from the
// listening socket; to the others Go gives the same.
func inheritable(c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) {
		for _, o := range []struct{ level, option, value int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Idle / time.Second)},
			{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Interval / time.Second)},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAlive.Count},
		} {
			err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), o.level, o.option, o.value)))
		}
	})
	return errors.Join(cerr, err)
}

// sharePort lets other sockets have the same port.
func sharePort(_, _ string, c syscall.RawConn) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = setReusePort(fd, true) }); cerr != nil {
		return cerr
	}
	return err
}

func setReusePort(fd uintptr, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
}

// advice says what to do about an error of bind.
func advice(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return ": another process has it; stop that one, choose another address, or set reuse_port on both"
	case errors.Is(err, os.ErrPermission):
		return ": ports below 1024 need the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ": this machine has no such address"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return ": too few file descriptors; raise LimitNOFILE or ulimit -n"
	}
	return ""
}
