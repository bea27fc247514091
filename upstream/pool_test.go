package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/internal/testkit/port"
)

// endpoint returns the one endpoint at an address.
func endpoint(t *testing.T, s *Set, at netip.AddrPort) *Endpoint {
	t.Helper()
	e, err := NewBalancer(s, Spec{Targets: []Target{target(at)}}, nil).Pick(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func dial(t *testing.T, p *Pool) *Conn {
	t.Helper()
	c, err := p.Dial(patience)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// closed reports whether c was closed on our side.
func closed(c *Conn) bool { return errors.Is(c.SetDeadline(time.Time{}), net.ErrClosed) }

func TestPoolLastUsedFirst(t *testing.T) {
	s := newSet(t)
	p := endpoint(t, s, serve(t, echo)).Pool(nil, "")
	a, b := dial(t, p), dial(t, p)
	if a.Reused() {
		t.Error("a new connection passes for a used one")
	}
	now := sock.Now()
	a.Keep(now, true)
	b.Keep(now+1, true)
	if s.Idle() != 2 {
		t.Errorf("%d idle connections, want 2", s.Idle())
	}
	if got := p.Get(now + 2); got != b || !got.Reused() {
		t.Error("the connection used last is to be used next")
	}
	if got := p.Get(now + 3); got != a || a.rested != 3 {
		t.Errorf("rested %d", a.rested)
	}
	if p.Get(now+4) != nil || s.Idle() != 0 {
		t.Error("an empty pool gave a connection")
	}
}

func TestPoolBounds(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		s := newSet(t)
		s.SetLimits(PoolLimits{Idle: 1, IdleTimeout: time.Minute, Requests: 100})
		p := endpoint(t, s, serve(t, echo)).Pool(nil, "")
		a, b := dial(t, p), dial(t, p)
		a.Keep(sock.Now(), true)
		b.Keep(sock.Now(), true)
		if !closed(b) || closed(a) || s.Idle() != 1 {
			t.Error("the connection beyond the bound must be closed, and only that one")
		}
	})
	t.Run("none", func(t *testing.T) {
		s := newSet(t)
		s.SetLimits(PoolLimits{IdleTimeout: time.Minute, Requests: 100})
		c := dial(t, endpoint(t, s, serve(t, echo)).Pool(nil, ""))
		if c.Keep(sock.Now(), true); !closed(c) {
			t.Error("a connection was kept although none may be")
		}
	})
	t.Run("requests", func(t *testing.T) {
		s := newSet(t)
		s.SetLimits(PoolLimits{Idle: 1, IdleTimeout: time.Minute, Requests: 2})
		p := endpoint(t, s, serve(t, echo)).Pool(nil, "")
		c := dial(t, p)
		now := sock.Now()
		c.Keep(now, true)
		if p.Get(now) != c {
			t.Fatal("not kept after the first of two requests")
		}
		if c.Keep(now, true); !closed(c) {
			t.Error("kept after its last request")
		}
	})
	t.Run("age", func(t *testing.T) {
		s := newSet(t)
		s.SetLimits(PoolLimits{Idle: 4, IdleTimeout: time.Hour, Requests: 100})
		p := endpoint(t, s, serve(t, echo)).Pool(nil, "")
		old, young := dial(t, p), dial(t, p)
		now := sock.Now()
		old.Keep(now-int64(2*time.Hour), true)
		if p.Get(now) != nil {
			t.Error("a connection that is too old was given out")
		}
		young.Keep(now, true)
		s.reap()
		if !closed(old) || closed(young) || s.Idle() != 1 {
			t.Error("the janitor must close the old connection, and only that one")
		}
	})
	t.Run("closed set", func(t *testing.T) {
		s := NewSet()
		s.SetLimits(PoolLimits{Idle: 4, IdleTimeout: time.Minute, Requests: 100})
		e := endpoint(t, s, serve(t, echo))
		used, idle := dial(t, e.Pool(nil, "")), dial(t, e.Pool(nil, ""))
		idle.Keep(sock.Now(), true)
		s.Close()
		if !closed(idle) {
			t.Error("an idle connection outlived its set")
		}
		if used.Keep(sock.Now(), true); !closed(used) {
			t.Error("a connection was given back to a closed set and kept")
		}
		late := dial(t, endpoint(t, s, serve(t, echo)).Pool(nil, ""))
		if late.Keep(sock.Now(), true); !closed(late) {
			t.Error("a pool that was made after the set's end keeps connections")
		}
	})
}

func TestRunEndsWithContext(t *testing.T) {
	s := newSet(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	cancel()
	<-done
}

func TestDialErrors(t *testing.T) {
	s := newSet(t)
	t.Run("refused", func(t *testing.T) {
		at := netip.MustParseAddrPort(port.Lasting(t))
		if _, err := endpoint(t, s, at).Pool(nil, "").Dial(patience); err == nil {
			t.Error("dialling a closed port succeeded")
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		at := serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
		_, err := endpoint(t, s, at).Pool(NewIdentity(IdentityConfig{}), "a.test").Dial(patience)
		var tlsErr *TLSError
		if !errors.As(err, &tlsErr) || !strings.HasPrefix(err.Error(), "shaking hands: ") || tlsErr.Unwrap() == nil {
			t.Errorf("error %v, want a TLSError", err)
		}
	})
	t.Run("silent handshake", func(t *testing.T) {
		at := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		_, err := endpoint(t, s, at).Pool(NewIdentity(IdentityConfig{}), "a.test").Dial(50 * time.Millisecond)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("error %v, want a deadline's", err)
		}
	})
}

// secureServer serves TLS with pair and counts the handshakes; each connection
// echoes.
func secureServer(t *testing.T, cfg *tls.Config) (netip.AddrPort, *atomic.Int32) {
	t.Helper()
	hands := new(atomic.Int32)
	return serve(t, func(c net.Conn) {
		tc := tls.Server(c, cfg)
		if tc.Handshake() == nil {
			hands.Add(1)
			echo(tc)
		}
	}), hands
}

func TestVerifyDepth(t *testing.T) {
	root := newAuthority(t, "root", nil)
	one := newAuthority(t, "one", root)
	two := newAuthority(t, "two", one)
	direct := root.pair(t, "shop.test")
	viaTwo := two.pair(t, "shop.test", two, one)
	tests := []struct {
		name string
		pair *tls.Certificate
		id   IdentityConfig
		sni  string
		want string // part of the error
	}{
		{"root signs", direct, IdentityConfig{Verify: true, Depth: 0}, "shop.test", ""},
		{"two between, two allowed", viaTwo, IdentityConfig{Verify: true, Depth: 2}, "shop.test", ""},
		{"two between, one allowed", viaTwo, IdentityConfig{Verify: true, Depth: 1}, "shop.test", "tls_verify_depth 1"},
		{"two between, no bound", viaTwo, IdentityConfig{Verify: true, Depth: -1}, "shop.test", ""},
		{"wrong name", direct, IdentityConfig{Verify: true, Depth: 1}, "other.test", "other.test"},
		{"not verified", viaTwo, IdentityConfig{Depth: 0}, "other.test", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSet(t)
			at, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{*tt.pair}})
			if tt.id.Verify {
				tt.id.CAs = []*x509.Certificate{root.cert}
			}
			c, err := endpoint(t, s, at).Pool(NewIdentity(tt.id), tt.sni).Dial(patience)
			switch {
			case err == nil && tt.want == "":
				if !c.Secure() {
					t.Error("the connection does not count as secure")
				}
				c.Close()
			case err == nil || tt.want == "" || !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestUnknownAuthority(t *testing.T) {
	at, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{*newAuthority(t, "theirs", nil).pair(t, "shop.test")}})
	id := NewIdentity(IdentityConfig{Verify: true, Depth: 1, CAs: []*x509.Certificate{newAuthority(t, "ours", nil).cert}})
	_, err := endpoint(t, newSet(t), at).Pool(id, "shop.test").Dial(patience)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("error %v, want an unknown authority", err)
	}
}

func TestClientCertificate(t *testing.T) {
	root := newAuthority(t, "root", nil)
	clients := x509.NewCertPool()
	clients.AddCert(root.cert)
	at, hands := secureServer(t, &tls.Config{
		Certificates: []tls.Certificate{*root.pair(t, "shop.test")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	id := NewIdentity(IdentityConfig{Verify: true, Depth: 1, CAs: []*x509.Certificate{root.cert}, Certificate: root.pair(t, "us")})
	c := dial(t, endpoint(t, newSet(t), at).Pool(id, "shop.test"))
	defer c.Close()
	b, n, wrote, err := c.SendReadBlock([]byte("hello"), nil, buf.Tiny, false)
	if err != nil || !wrote || string(b.B[:n]) != "hello" || hands.Load() != 1 {
		t.Errorf("over mutual TLS: %v", err)
	}
	b.Put()
}

func TestIdentityKeys(t *testing.T) {
	a, b := newAuthority(t, "a", nil), newAuthority(t, "b", nil)
	pair := a.pair(t, "us")
	self := &tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
	configs := map[string]IdentityConfig{
		"nothing":                {},
		"verify":                 {Verify: true},
		"deeper":                 {Verify: true, Depth: 1},
		"unbounded":              {Verify: true, Depth: -1},
		"an authority":           {Verify: true, CAs: []*x509.Certificate{a.cert}},
		"another authority":      {Verify: true, CAs: []*x509.Certificate{b.cert}},
		"both":                   {Verify: true, CAs: []*x509.Certificate{a.cert, b.cert}},
		"a certificate":          {Verify: true, Certificate: pair},
		"another certificate":    {Verify: true, Certificate: b.pair(t, "us")},
		"authority as our own":   {Verify: true, Certificate: self},
		"authority and our own":  {Verify: true, CAs: []*x509.Certificate{a.cert}, Certificate: pair},
		"unverified certificate": {Certificate: pair},
	}
	keys := make(map[string]string)
	for name, c := range configs {
		key := NewIdentity(c).key
		if key != NewIdentity(c).key {
			t.Errorf("%s: the same configuration has two keys", name)
		}
		if other, taken := keys[key]; taken {
			t.Errorf("%q and %q share a key", name, other)
		}
		keys[key] = name
	}
}

// TestPoolsAreApart shows that a connection is never given to another identity,
// server name or endpoint.
func TestPoolsAreApart(t *testing.T) {
	root := newAuthority(t, "root", nil)
	at, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{*root.pair(t, "shop.test")}})
	s := newSet(t)
	e := endpoint(t, s, at)
	lax := NewIdentity(IdentityConfig{})
	strict := NewIdentity(IdentityConfig{Verify: true, Depth: 1, CAs: []*x509.Certificate{root.cert}})
	dial(t, e.Pool(lax, "shop.test")).Keep(sock.Now(), true)

	for name, p := range map[string]*Pool{
		"another identity":    e.Pool(strict, "shop.test"),
		"another server name": e.Pool(lax, "other.test"),
		"plaintext":           e.Pool(nil, ""),
		"another endpoint":    endpoint(t, s, serve(t, echo)).Pool(lax, "shop.test"),
	} {
		if p.Get(sock.Now()) != nil {
			t.Errorf("%s was given the connection", name)
		}
	}
	again := endpoint(t, s, at).Pool(NewIdentity(IdentityConfig{}), "shop.test")
	c := again.Get(sock.Now())
	if c == nil {
		t.Fatal("the same identity, made anew, was not given the connection")
	}
	c.Close()
	if e.Pool(lax, "").key.serverName != e.Target.Host {
		t.Error("without a server name the target's host is the name")
	}
}

func TestSendReadBlockPlain(t *testing.T) {
	s := newSet(t)
	p := endpoint(t, s, serve(t, echo)).Pool(nil, "")
	c := dial(t, p)
	for range 3 {
		b, n, wrote, err := c.SendReadBlock([]byte("hello"), buf.Get(buf.Tiny), buf.Tiny, true)
		if err != nil || !wrote || string(b.B[:n]) != "hello" {
			t.Fatalf("plain: %v", err)
		}
		b.Put()
		c.Keep(sock.Now(), true)
		if c = p.Get(sock.Now()); c == nil {
			t.Fatal("the connection was not kept")
		}
	}
	c.Close()
}

// TestSendReadBlockProbes shows when a kept connection is looked at before it
// is used: always, but for a request that may be repeated and a rest so short
// that the look would tell nothing.
func TestSendReadBlockProbes(t *testing.T) {
	for _, tt := range []struct {
		name       string
		rested     time.Duration
		replayable bool
		stale      bool // found before anything was written
	}{
		{"rested", time.Second, true, true},
		{"just used, not to be repeated", 0, false, true},
		{"just used", 0, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSet(t)
			closing := make(chan struct{})
			p := endpoint(t, s, serve(t, func(net.Conn) { <-closing })).Pool(nil, "")
			c := dial(t, p)
			now := sock.Now()
			c.Keep(now-int64(tt.rested), true)
			close(closing)
			for end := time.Now().Add(patience); !c.socket.Departed() && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			if p.Get(now) != c {
				t.Fatal("the connection was not kept")
			}
			_, _, wrote, err := c.SendReadBlock([]byte("hello"), nil, buf.Tiny, tt.replayable)
			if errors.Is(err, sock.ErrStale) != tt.stale || wrote == tt.stale || err == nil {
				t.Errorf("error %v, wrote %v", err, wrote)
			}
			c.Close()
		})
	}
}

func TestSendReadBlockSecureStale(t *testing.T) {
	root := newAuthority(t, "root", nil)
	closing := make(chan struct{})
	at := serve(t, func(c net.Conn) {
		_ = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*root.pair(t, "shop.test")}}).Handshake()
		<-closing
	})
	p := endpoint(t, newSet(t), at).Pool(NewIdentity(IdentityConfig{}), "shop.test")
	c := dial(t, p)
	c.Keep(sock.Now(), true)
	close(closing)
	for end := time.Now().Add(patience); !c.socket.Departed() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if p.Get(sock.Now()) != c {
		t.Fatal("the connection was not kept")
	}
	if _, _, wrote, err := c.SendReadBlock([]byte("hello"), buf.Get(buf.Tiny), buf.Tiny, true); !errors.Is(err, sock.ErrStale) || wrote {
		t.Errorf("error %v, wrote %v, want ErrStale", err, wrote)
	}
	c.Close()
}

func TestCloseWrite(t *testing.T) {
	root := newAuthority(t, "root", nil)
	s := newSet(t)
	secure, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{*root.pair(t, "shop.test")}})
	for name, p := range map[string]*Pool{
		"plain":  endpoint(t, s, serve(t, echo)).Pool(nil, ""),
		"secure": endpoint(t, s, secure).Pool(NewIdentity(IdentityConfig{}), "shop.test"),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, p)
			defer c.Close()
			if _, err := io.WriteString(c, "all"); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); err != nil || string(got) != "all" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

// TestIdleSecureBound: however many server names clients choose, and so pools,
// what is idle through TLS is bounded, and what leaves makes room.
func TestIdleSecureBound(t *testing.T) {
	root := newAuthority(t, "root", nil)
	at, _ := secureServer(t, &tls.Config{Certificates: []tls.Certificate{*root.pair(t, "shop.test")}})
	s := newSet(t)
	e := endpoint(t, s, at)
	id := NewIdentity(IdentityConfig{})
	plain := endpoint(t, s, serve(t, echo)).Pool(nil, "")
	a, b := e.Pool(id, "a.test"), e.Pool(id, "b.test")
	kept, beyond, clear := dial(t, a), dial(t, b), dial(t, plain)
	const others = maxIdleSecure - 1 // as if that many were idle
	s.secure.Store(others)
	now := sock.Now()
	kept.Keep(now, true)
	beyond.Keep(now, true)
	clear.Keep(now, true)
	if closed(kept) || !closed(beyond) || closed(clear) {
		t.Error("the TLS connection beyond the bound must be closed, and only that one")
	}
	if a.Get(now) != kept || s.secure.Load() != others {
		t.Fatalf("%d are counted once one is used again, want %d", s.secure.Load(), others)
	}
	again := dial(t, b)
	if again.Keep(now, true); closed(again) {
		t.Error("a connection was not kept although there was room")
	}
	kept.Close()
	s.SetLimits(PoolLimits{Idle: 4, IdleTimeout: time.Nanosecond, Requests: 100})
	for s.reap(); s.Idle() > 0; {
		s.reap() // until the clock has moved on
	}
	if n := s.secure.Load(); n != others {
		t.Errorf("%d are counted once the idle ones grew old, want %d", n, others)
	}
	s.SetLimits(PoolLimits{Idle: 4, IdleTimeout: time.Hour, Requests: 100})
	last := dial(t, e.Pool(id, "c.test"))
	last.Keep(now, true)
	s.Close()
	if n := s.secure.Load(); n != others {
		t.Errorf("%d are counted once the set is closed, want %d", n, others)
	}
}

// TestStopDialing: at the end of a drain nothing waits for a peer any more.
func TestStopDialing(t *testing.T) {
	s := newSet(t)
	accepted := make(chan struct{}, 2)
	mute := serve(t, func(c net.Conn) {
		accepted <- struct{}{}
		_, _ = io.Copy(io.Discard, c) // never answers a handshake
	})
	p := endpoint(t, s, mute).Pool(NewIdentity(IdentityConfig{}), "shop.test")
	failed := make(chan error, 1)
	go func() {
		_, err := p.Dial(time.Hour)
		failed <- err
	}()
	<-accepted
	s.StopDialing()
	select {
	case err := <-failed:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the attempt under way ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the attempt under way did not end")
	}
	if _, err := p.Dial(time.Hour); err == nil {
		t.Error("a new attempt succeeded")
	}
}

// TestSendReadBlockUnasked: what a peer says unasked is found before the next
// request is sent, on a connection that was just used, too.
func TestSendReadBlockUnasked(t *testing.T) {
	root := newAuthority(t, "root", nil)
	cfg := &tls.Config{Certificates: []tls.Certificate{*root.pair(t, "shop.test")}}
	for _, tt := range []struct {
		name  string
		id    *Identity
		serve func(net.Conn) net.Conn
	}{
		{"plain", nil, func(c net.Conn) net.Conn { return c }},
		{"secure", NewIdentity(IdentityConfig{}), func(c net.Conn) net.Conn { return tls.Server(c, cfg) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			speak := make(chan struct{})
			p := endpoint(t, newSet(t), serve(t, func(raw net.Conn) {
				c := tt.serve(raw)
				_, _ = io.CopyN(c, c, 8)
				<-speak
				_, _ = io.WriteString(c, "unasked")
				_, _ = io.Copy(io.Discard, c)
			})).Pool(tt.id, "shop.test")
			c := dial(t, p)
			defer c.Close()
			say := func(text string) (wrote bool, err error) {
				b, n, wrote, err := c.SendReadBlock([]byte(text), buf.Get(buf.Tiny), buf.Tiny, true)
				if err == nil && string(b.B[:n]) != text {
					t.Errorf("%q is answered by %q", text, b.B[:n])
				}
				b.Put()
				return wrote, err
			}
			now := sock.Now()
			for _, text := range []string{"echo", "kept"} { // a silent peer is no stale one
				if _, err := say(text); err != nil {
					t.Fatal(err)
				}
				if c.Keep(now, false); p.Get(now) != c {
					t.Fatal("the connection was not kept")
				}
			}
			close(speak)
			awaitReadable(t, c)
			if wrote, err := say("next"); !errors.Is(err, sock.ErrStale) || wrote {
				t.Errorf("error %v, wrote %v, want ErrStale", err, wrote)
			}
		})
	}
}

// awaitReadable waits until something can be read from a socket, and reads
// nothing.
func awaitReadable(t *testing.T, c *Conn) {
	t.Helper()
	raw, err := c.socket.TCPConn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		if n != 1 {
			t.Errorf("nothing to read: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
