package upstream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// TestReapForgetsNamedPools shows that pools by server name, which clients may
// choose, do not add up; what was used lately stays.
func TestReapForgetsNamedPools(t *testing.T) {
	s := newSet(t)
	s.SetLimits(PoolLimits{Idle: 4, IdleTimeout: time.Hour, Requests: 100})
	e := endpoint(t, s, serve(t, echo))
	id := NewIdentity(IdentityConfig{})
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		e.Pool(id, name).used = sock.Now() - int64(2*time.Hour)
	}
	fresh := e.Pool(id, "fresh.test")
	s.reap()
	if n := len(s.pools); n != 2 { // plain and fresh
		t.Errorf("%d pools are left, want 2", n)
	}
	if e.Pool(id, "fresh.test") != fresh {
		t.Error("a pool in use was forgotten")
	}
}

// TestReapForgetsPlainPools shows that an endpoint whose pool was forgotten has
// another one, which also takes the connections in use meanwhile.
func TestReapForgetsPlainPools(t *testing.T) {
	s := newSet(t)
	e := endpoint(t, s, serve(t, echo))
	before := e.Pool(nil, "")
	c := dial(t, before)
	before.used = sock.Now() - int64(2*time.Minute)
	s.reap()
	if n := len(s.pools); n != 0 {
		t.Errorf("%d pools are left, want none", n)
	}
	now := sock.Now()
	c.Keep(now, true)
	after := e.Pool(nil, "")
	if after == before || e.Pool(nil, "") != after || after.Get(now) != c {
		t.Error("the endpoint has no pool that keeps its connections")
	}
	c.Close()
	if n := testing.AllocsPerRun(100, func() { e.Pool(nil, "").Get(now) }); n != 0 {
		t.Errorf("%v allocations per look into the pool, want none", n)
	}
}

// TestReapAfterChurn shows that addresses that a name had once leave nothing.
func TestReapAfterChurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeDNS)
		b := named(t, f, shop)
		for i := range 50 {
			f.set(map[string]string{shop.Host: fmt.Sprintf("192.0.2.%d 198.51.100.%d", i, i)})
			b.Endpoints()
			synctest.Wait()
			time.Sleep(fakeTTL)
			b.set.reap()
		}
		if n := len(b.set.pools); n > 6 { // of the last minute
			t.Errorf("%d pools after many changes of two addresses", n)
		}
	})
}
