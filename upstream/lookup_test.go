package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// fakeDNS answers from a table, and holds its answers back while it is told to.
type fakeDNS struct {
	mu    sync.Mutex
	names map[string]string // records, separated by blanks: address, address:port or address:port*weight
	ttl   time.Duration     // of the answers; 0: fakeTTL
	err   error             // instead of any answer
	asked []string
	gate  chan struct{} // if not nil, answers wait until it is closed
}

var _ Resolver = (*fakeDNS)(nil)

const fakeTTL = 30 * time.Second

var (
	errDNS     = errors.New("no such host")
	errTrouble = errors.New("the servers are silent")
)

func (f *fakeDNS) Resolve(ctx context.Context, name string) (Answer, error) {
	f.mu.Lock()
	f.asked = append(f.asked, name)
	text, ok := f.names[name]
	gate, err := f.gate, f.err
	a := Answer{Expires: sock.Now() + int64(cmp.Or(f.ttl, fakeTTL))}
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return Answer{}, ctx.Err()
		}
	}
	if err != nil {
		return Answer{}, err
	}
	if !ok {
		return Answer{}, fmt.Errorf("%w: %w", ErrName, errDNS)
	}
	for s := range strings.FieldsSeq(text) {
		r := Record{Weight: 1}
		at, weight, weighted := strings.Cut(s, "*")
		if weighted {
			r.Weight, _ = strconv.Atoi(weight)
		}
		if ap, err := netip.ParseAddrPort(at); err == nil {
			r.Addr, r.Port = ap.Addr(), ap.Port()
		} else {
			r.Addr = netip.MustParseAddr(at)
		}
		a.Records = append(a.Records, r)
	}
	return a, nil
}

func (f *fakeDNS) set(names map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names = names
}

func (f *fakeDNS) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
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
	s.SetResolver(f)
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
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1"}, gate: make(chan struct{})}
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
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1"}}
		b := named(t, f, shop)
		pick(t, b)

		time.Sleep(fakeTTL - time.Second)
		pick(t, b)
		synctest.Wait()
		if n := f.count(); n != 1 {
			t.Fatalf("%d look-ups while the addresses are fresh, want 1", n)
		}

		gate := make(chan struct{})
		f.hold(gate)
		f.set(map[string]string{"shop.test": "192.0.2.2"})
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
		if n := f.count(); n != 1 {
			t.Errorf("%d look-ups, want 1: an error is remembered for a while", n)
		}
		f.set(map[string]string{"shop.test": "192.0.2.1"})
		time.Sleep(lookupError)
		if at := pick(t, b); at != "192.0.2.1:80" {
			t.Errorf("picked %s", at)
		}
	})
}

// TestLookupTroubleKeepsAddresses shows that a resolver's trouble does not take
// away what is known, and that it is asked again soon.
func TestLookupTroubleKeepsAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1 192.0.2.2"}}
		b := named(t, f, shop)
		pick(t, b)
		f.fail(errTrouble)
		time.Sleep(fakeTTL)
		pick(t, b)
		synctest.Wait()
		got := []string{pick(t, b), pick(t, b)}
		slices.Sort(got)
		if want := []string{"192.0.2.1:80", "192.0.2.2:80"}; !slices.Equal(got, want) {
			t.Errorf("picked %v, want %v", got, want)
		}
		f.fail(nil)
		f.set(map[string]string{"shop.test": "192.0.2.3"})
		time.Sleep(lookupError)
		pick(t, b)
		synctest.Wait()
		if at := pick(t, b); at != "192.0.2.3:80" {
			t.Errorf("picked %s after the trouble", at)
		}
	})
}

// TestLookupGone shows that a name that has no address any more loses its
// traffic, to the other targets if there are some.
func TestLookupGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1", "other.test": "192.0.2.2"}}
		b := named(t, f, shop, Target{Host: "other.test", Port: 80, Weight: 100})
		alone := NewBalancer(b.set, Spec{Targets: []Target{shop}}, nil)
		pick(t, b)
		pick(t, alone)
		f.set(map[string]string{"other.test": "192.0.2.2"})
		time.Sleep(fakeTTL)
		pick(t, b)
		pick(t, alone)
		synctest.Wait()
		for range 4 {
			if at := pick(t, b); at != "192.0.2.2:80" {
				t.Fatalf("picked %s, whose name is gone", at)
			}
		}
		if e, err := alone.Pick(nil); !errors.Is(err, ErrName) {
			t.Errorf("picked %v, %v; want ErrName", e, err)
		}
	})
}

// TestLookupUnchanged shows that endpoints are made anew only when the records
// have changed.
func TestLookupUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1 192.0.2.2"}}
		b := named(t, f, shop)
		pick(t, b)
		before := b.wheel.Load()
		again := func() *wheel {
			time.Sleep(fakeTTL)
			pick(t, b)
			synctest.Wait()
			return b.wheel.Load()
		}
		if again() != before {
			t.Error("the same records made other endpoints")
		}
		if n := f.count(); n != 2 {
			t.Errorf("%d look-ups, want 2", n)
		}
		f.set(map[string]string{"shop.test": "192.0.2.1 192.0.2.3"})
		if again() == before {
			t.Error("other records made no other endpoints")
		}
		if n := f.count(); n != 3 {
			t.Errorf("%d look-ups, want 3", n)
		}
	})
}

// TestLookupExpires shows that the resolver says when it is asked again, and
// that the name which is first to need it counts.
func TestLookupExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1"}, ttl: 5 * time.Second}
		b := named(t, f, shop)
		pick(t, b)
		time.Sleep(5*time.Second - time.Nanosecond)
		pick(t, b)
		synctest.Wait()
		if n := f.count(); n != 1 {
			t.Errorf("%d look-ups before the answer's time is over", n)
		}
		time.Sleep(time.Nanosecond)
		pick(t, b)
		synctest.Wait()
		if n := f.count(); n != 2 {
			t.Errorf("%d look-ups once the answer's time is over, want 2", n)
		}
	})
}

// TestLookupSRV shows that records bring their own ports and weights.
func TestLookupSRV(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1:8001*1 192.0.2.1:8002*3 [2001:db8::1]:443*4"}}
		b := named(t, f, shop)
		pick(t, b)
		got := counts(t, b, 8)
		want := map[string]int{"192.0.2.1:8001": 1, "192.0.2.1:8002": 3, "[2001:db8::1]:443": 4}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
		for _, e := range b.wheel.Load().turns {
			if want := fmt.Sprintf("shop.test:%d", e.Addr.Port()); e.Host(false) != want {
				t.Errorf("%v has the Host %q, want %q", e.Addr, e.Host(false), want)
			}
		}
	})
}

// TestLookupAdopted shows that a change of targets loses no address that is
// known: nobody waits, and trouble takes nothing away.
func TestLookupAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1", "old.test": "192.0.2.2", "new.test": "192.0.2.3"}}
		prev := named(t, f, shop, Target{Host: "old.test", Port: 80, Weight: 100})
		pick(t, prev)
		gate := make(chan struct{})
		f.hold(gate)
		lighter := Target{Host: "shop.test", Port: 80, Weight: 50}
		b := NewBalancer(prev.set, Spec{Targets: []Target{
			lighter, {Host: "192.0.2.9", Port: 80, Weight: 50}, {Host: "new.test", Port: 80, Weight: 50}, {Host: "gone.test", Port: 80, Weight: 50},
		}}, prev)
		began := time.Now()
		check := func(when string, want map[string]int, states ...Health) {
			t.Helper()
			if diff := gocmp.Diff(want, counts(t, b, 6)); diff != "" {
				t.Errorf("%s: picks (-want +got):\n%s", when, diff)
			}
			for i, target := range b.Health().Targets {
				if target.State != states[i] {
					t.Errorf("%s: %v is %s, want %s", when, target.Target, target.State, states[i])
				}
			}
		}
		known := map[string]int{"192.0.2.1:80": 3, "192.0.2.9:80": 3}
		check("before the look-up", known, HealthOff, HealthOff, HealthOff, HealthOff)
		if d := time.Since(began); d != 0 {
			t.Errorf("requests waited for %v", d)
		}
		time.Sleep(lookupTimeout)
		synctest.Wait()
		check("after a look-up without an answer", known, HealthOff, HealthOff, HealthDNSError, HealthDNSError)
		close(gate)
		time.Sleep(lookupError)
		pick(t, b)
		synctest.Wait()
		check("after the look-up", map[string]int{"192.0.2.1:80": 2, "192.0.2.9:80": 2, "192.0.2.3:80": 2}, HealthOff, HealthOff, HealthOff, HealthDNSError)
	})
}

// TestLookupDuplicates shows that records of the same address and port are one
// endpoint of all their weight.
func TestLookupDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1:80*1 192.0.2.2:80*4 192.0.2.1*2 [::ffff:192.0.2.1]:80*1 192.0.2.1:81*4"}}
		b := named(t, f, shop)
		pick(t, b)
		if n := len(b.Endpoints()); n != 3 {
			t.Errorf("%d endpoints, want 3", n)
		}
		want := map[string]int{"192.0.2.1:80": 1, "192.0.2.2:80": 1, "192.0.2.1:81": 1}
		if diff := gocmp.Diff(want, counts(t, b, 3)); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
	})
}

// TestLookupManyNames shows that names are asked for side by side, so that a
// slow one does not keep the others from being asked for.
func TestLookupManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeDNS{names: make(map[string]string), gate: make(chan struct{})}
		var list []Target
		for i := range 3 * lookupsAtOnce {
			name := fmt.Sprintf("s%d.test", i%(2*lookupsAtOnce))
			f.names[name] = fmt.Sprintf("192.0.2.%d", i%(2*lookupsAtOnce))
			list = append(list, Target{Host: name, Port: uint16(1 + i), Weight: 1})
		}
		b := named(t, f, list...)
		var asking sync.WaitGroup
		asking.Go(func() { pick(t, b) })
		synctest.Wait()
		if n := f.count(); n != lookupsAtOnce {
			t.Errorf("%d names are asked for at once, want %d", n, lookupsAtOnce)
		}
		close(f.gate)
		asking.Wait()
		if n, turns := f.count(), len(b.wheel.Load().turns); n != 2*lookupsAtOnce || turns != len(list) {
			t.Errorf("%d look-ups and %d endpoints, want %d and %d", n, turns, 2*lookupsAtOnce, len(list))
		}
	})
}

func TestLookupWithoutResolver(t *testing.T) {
	if _, err := NewBalancer(newSet(t), Spec{Targets: []Target{shop}}, nil).Pick(nil); !errors.Is(err, ErrName) {
		t.Errorf("error %v, want ErrName", err)
	}
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
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1 192.0.2.2"}}
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
		f := &fakeDNS{names: map[string]string{"shop.test": "192.0.2.1 192.0.2.2 192.0.2.3"}}
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
	s.SetResolver(f)
	b := NewBalancer(s, Spec{Targets: []Target{{Host: "192.0.2.1", Port: 80, Weight: 1}, {Host: "off.test", Port: 80}}}, nil)
	if at := pick(t, b); at != "192.0.2.1:80" || f.count() != 0 {
		t.Errorf("picked %s after %d look-ups, want none", at, f.count())
	}
}

func TestLookupEndsWithSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet()
		s.SetResolver(&fakeDNS{gate: make(chan struct{})})
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

func TestErrNameText(t *testing.T) {
	if s := fmt.Sprint(ErrName); s != "name resolution failed" {
		t.Errorf("Kong's words are %q", s)
	}
}
