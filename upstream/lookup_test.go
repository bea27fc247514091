package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeDNS answers from a table, and holds its answers back while it is told to.
type fakeDNS struct {
	mu    sync.Mutex
	names map[string]string // "ip4 name": addresses, separated by blanks
	asked []string
	gate  chan struct{} // if not nil, answers wait until it is closed
}

var errDNS = errors.New("no such host")

func (f *fakeDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	f.mu.Lock()
	key := network + " " + host
	f.asked = append(f.asked, key)
	text, ok := f.names[key]
	gate := f.gate
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if !ok {
		return nil, errDNS
	}
	var ips []netip.Addr
	for s := range strings.FieldsSeq(text) {
		ips = append(ips, netip.MustParseAddr(s))
	}
	return ips, nil
}

func (f *fakeDNS) set(names map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = names
}

func (f *fakeDNS) hold(gate chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gate = gate
}

func (f *fakeDNS) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// named returns a balancer over names that f answers for. It belongs into a
// synctest bubble, together with its set.
func named(t *testing.T, f *fakeDNS, list ...Target) *Balancer {
	t.Helper()
	s := newSet(t)
	s.resolver = f
	return NewBalancer(s, Spec{Targets: list}, nil)
}

func pick(t *testing.T, b *Balancer) string {
	t.Helper()
	e, err := b.Pick(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.Addr.String()
}

var shop = Target{Host: "shop.test", Port: 80, Weight: 100}

func TestLookupWaitsForFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"ip4 shop.test": "192.0.2.1"}, gate: make(chan struct{})}
		b := named(t, f, shop)
		var picks sync.WaitGroup
		for range 10 {
			picks.Go(func() {
				if e, err := b.Pick(nil); err != nil || e.Addr.String() != "192.0.2.1:80" {
					t.Errorf("picked %v, %v", e, err)
				}
			})
		}
		synctest.Wait()
		close(f.gate)
		picks.Wait()
		if n := f.count(); n != 1 {
			t.Errorf("%d look-ups for 10 requests at once, want 1", n)
		}
	})
}

// TestLookupStaleWhileRefreshing shows that nobody waits for a look-up while
// there are addresses.
func TestLookupStaleWhileRefreshing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"ip4 shop.test": "192.0.2.1"}}
		b := named(t, f, shop)
		pick(t, b)

		time.Sleep(lookupFresh - time.Second)
		pick(t, b)
		synctest.Wait()
		if n := f.count(); n != 1 {
			t.Fatalf("%d look-ups while the addresses are fresh, want 1", n)
		}

		gate := make(chan struct{})
		f.hold(gate)
		f.set(map[string]string{"ip4 shop.test": "192.0.2.2"})
		time.Sleep(2 * time.Second)
		for range 5 {
			if at := pick(t, b); at != "192.0.2.1:80" {
				t.Fatalf("picked %s while the look-up was under way", at)
			}
		}
		close(gate)
		synctest.Wait()
		if at := pick(t, b); at != "192.0.2.2:80" {
			t.Errorf("picked %s after the look-up", at)
		}
		if n := f.count(); n != 2 {
			t.Errorf("%d look-ups, want 2", n)
		}
	})
}

func TestLookupErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeDNS)
		b := named(t, f, shop)
		for range 3 {
			_, err := b.Pick(nil)
			if !errors.Is(err, ErrName) || !errors.Is(err, errDNS) {
				t.Fatalf("error %v, want ErrName and its cause", err)
			}
		}
		if n := f.count(); n != 2 { // ip4 and ip6, once
			t.Errorf("%d look-ups, want 2: an error is remembered for a while", n)
		}
		f.set(map[string]string{"ip4 shop.test": "192.0.2.1"})
		time.Sleep(lookupError)
		if at := pick(t, b); at != "192.0.2.1:80" {
			t.Errorf("picked %s", at)
		}
	})
}

// TestLookupErrorKeepsAddresses shows that a name server's trouble does not
// take away what is known, and that it is asked again soon.
func TestLookupErrorKeepsAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"ip4 shop.test": "192.0.2.1 192.0.2.2"}}
		b := named(t, f, shop)
		pick(t, b)
		f.set(nil)
		time.Sleep(lookupFresh)
		pick(t, b)
		synctest.Wait()
		got := []string{pick(t, b), pick(t, b)}
		slices.Sort(got)
		if want := []string{"192.0.2.1:80", "192.0.2.2:80"}; !slices.Equal(got, want) {
			t.Errorf("picked %v, want %v", got, want)
		}
		f.set(map[string]string{"ip4 shop.test": "192.0.2.3"})
		time.Sleep(lookupError)
		pick(t, b)
		synctest.Wait()
		if at := pick(t, b); at != "192.0.2.3:80" {
			t.Errorf("picked %s after the name server came back", at)
		}
	})
}

func TestLookupIPv6(t *testing.T) {
	tests := []struct {
		name  string
		names map[string]string
		want  string
		asked []string
	}{
		{"A first", map[string]string{"ip4 shop.test": "192.0.2.1", "ip6 shop.test": "2001:db8::1"}, "192.0.2.1:80", []string{"ip4 shop.test"}},
		{"AAAA if there is no A", map[string]string{"ip6 shop.test": "2001:db8::1"}, "[2001:db8::1]:80", []string{"ip4 shop.test", "ip6 shop.test"}},
		{"AAAA if A is empty", map[string]string{"ip4 shop.test": "", "ip6 shop.test": "2001:db8::1"}, "[2001:db8::1]:80", []string{"ip4 shop.test", "ip6 shop.test"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeDNS{names: tt.names}
				if at := pick(t, named(t, f, shop)); at != tt.want {
					t.Errorf("picked %s, want %s", at, tt.want)
				}
				if !slices.Equal(f.asked, tt.asked) {
					t.Errorf("asked for %v, want %v", f.asked, tt.asked)
				}
			})
		})
	}
}

func TestLookupEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"ip4 shop.test": "", "ip6 shop.test": ""}}
		if _, err := named(t, f, shop).Pick(nil); !errors.Is(err, ErrName) {
			t.Errorf("error %v, want ErrName", err)
		}
	})
}

func TestLookupTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{gate: make(chan struct{})}
		began := time.Now()
		_, err := named(t, f, shop).Pick(nil)
		if !errors.Is(err, ErrName) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want a timeout", err)
		}
		if d := time.Since(began); d != lookupTimeout {
			t.Errorf("waited %v, want %v", d, lookupTimeout)
		}
	})
}

// TestLookupWeights shows that a name's weight is split over its addresses, and
// that a name without an address leaves the traffic to the others.
func TestLookupWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"ip4 shop.test": "192.0.2.1 192.0.2.2"}}
		b := named(t, f, shop, Target{Host: "192.0.2.9", Port: 80, Weight: 100}, Target{Host: "gone.test", Port: 80, Weight: 50})
		pick(t, b)
		turns := len(b.wheel.Load().turns)
		n := counts(t, b, turns)
		if n["192.0.2.1:80"] != n["192.0.2.2:80"] || n["192.0.2.9:80"] != 2*n["192.0.2.1:80"] || len(n) != 3 {
			t.Errorf("in %d turns: %v, want 1:1:2", turns, n)
		}
	})
}

func TestLookupThirds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"ip4 shop.test": "192.0.2.1 192.0.2.2 192.0.2.3"}}
		b := named(t, f, shop)
		pick(t, b)
		if n := len(b.wheel.Load().turns); n != 3 {
			t.Errorf("three equal endpoints have %d turns, want 3", n)
		}
		f = &fakeDNS{names: f.names}
		b = named(t, f, shop, Target{Host: "192.0.2.9", Port: 80, Weight: 100})
		pick(t, b)
		n := make(map[string]int)
		for _, e := range b.wheel.Load().turns {
			n[e.Addr.String()]++
		}
		share := float64(n["192.0.2.9:80"]) / float64(len(b.wheel.Load().turns))
		if share < 0.49 || share > 0.51 {
			t.Errorf("the share of half the weight is %.3f: %v", share, n)
		}
	})
}

func TestLookupZeroWeightIsNotAsked(t *testing.T) {
	f := new(fakeDNS)
	s := newSet(t)
	s.resolver = f
	b := NewBalancer(s, Spec{Targets: []Target{{Host: "192.0.2.1", Port: 80, Weight: 1}, {Host: "off.test", Port: 80}}}, nil)
	if at := pick(t, b); at != "192.0.2.1:80" || f.count() != 0 {
		t.Errorf("picked %s after %d look-ups, want none", at, f.count())
	}
}

func TestLookupEndsWithSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet()
		s.resolver = &fakeDNS{gate: make(chan struct{})}
		b := NewBalancer(s, Spec{Targets: []Target{shop}}, nil)
		failed := make(chan error, 1)
		go func() {
			_, err := b.Pick(nil)
			failed <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the set's end", err)
		}
	})
}

func TestAddressesOfNoWheel(t *testing.T) {
	var w *wheel
	if got := w.addresses("shop.test"); got != nil {
		t.Errorf("addresses %v", got)
	}
	if s := fmt.Sprint(ErrName); s != "name resolution failed" {
		t.Errorf("Kong's words are %q", s)
	}
}
