package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// TestTimes shows how long an answer is good for.
func TestTimes(t *testing.T) {
	tests := []struct {
		name string
		zone map[string][]string
		set  func(*Settings)
		want time.Duration
	}{
		{"as the record says", map[string][]string{"A shop.test.": {"shop.test. 300 IN A 192.0.2.1"}}, nil, 5 * time.Minute},
		{"the least of several", map[string][]string{"A shop.test.": {"shop.test. 300 IN A 192.0.2.1", "shop.test. 7 IN A 192.0.2.2"}}, nil, 7 * time.Second},
		{"an alias counts", map[string][]string{"A shop.test.": {"shop.test. 9 IN CNAME b.test.", "b.test. 300 IN A 192.0.2.2"}}, nil, 9 * time.Second},
		{"an alias that was asked for counts", map[string][]string{"A shop.test.": {"shop.test. 300 IN CNAME b.test."}, "A b.test.": {"b.test. 8 IN A 192.0.2.2"}}, nil, 8 * time.Second},
		{"a CNAME record counts", map[string][]string{"CNAME shop.test.": {"shop.test. 6 IN CNAME b.test."}, "A b.test.": {"b.test. 80 IN A 192.0.2.2"}}, nil, 6 * time.Second},
		{"SRV counts", map[string][]string{"SRV shop.test.": {"shop.test. 5 IN SRV 1 1 80 a.test."}, "A a.test.": {"a.test. 60 IN A 192.0.2.1"}}, nil, 5 * time.Second},
		{"the host of SRV counts", map[string][]string{"SRV shop.test.": {"shop.test. 60 IN SRV 1 1 80 a.test."}, "A a.test.": {"a.test. 4 IN A 192.0.2.1"}}, nil, 4 * time.Second},
		{"a record that is not used does not", map[string][]string{"A shop.test.": {"bank.test. 1 IN A 192.0.2.1", "shop.test. 30 IN A 192.0.2.1"}}, nil, 30 * time.Second},
		{"TTL 0", map[string][]string{"A shop.test.": {"shop.test. 0 IN A 192.0.2.1"}}, nil, time.Second},
		{"a bound below", map[string][]string{"A shop.test.": {"shop.test. 1 IN A 192.0.2.1"}}, func(s *Settings) { s.MinTTL = 20 * time.Second }, 20 * time.Second},
		{"a bound above", map[string][]string{"A shop.test.": {"shop.test. 2147483647 IN A 192.0.2.1"}}, func(s *Settings) { s.MaxTTL = time.Hour }, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := settings()
				if tt.set != nil {
					tt.set(set)
				}
				s := &table{zone: tt.zone}
				r := start(t, set, s)
				a, err := r.Resolve(t.Context(), "shop.test")
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Duration(a.Expires - sock.Now()); got != tt.want {
					t.Errorf("good for %v, want %v", got, tt.want)
				}
				s.took()
				time.Sleep(tt.want - time.Nanosecond)
				resolve(t, r, "shop.test")
				synctest.Wait()
				wantAsked(t, s)
				time.Sleep(time.Nanosecond)
				resolve(t, r, "shop.test")
				synctest.Wait()
				if len(s.took()) == 0 {
					t.Error("not asked again once its time is over")
				}
			})
		})
	}
}

// TestChange follows a name whose answer changes: nobody waits for the new one,
// and only what was found last is asked for.
func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {shopA}}}
		r := start(t, settings(), s)
		resolve(t, r, "shop.test")
		wantAsked(t, s, "SRV shop.test.", "A shop.test.")

		gate := make(chan struct{})
		s.hold(gate)
		s.set("A shop.test.", "shop.test. 60 IN A 192.0.2.2")
		time.Sleep(time.Minute)
		a, err := r.Resolve(t.Context(), "shop.test")
		if err != nil || text(a) != "192.0.2.1" || a.Expires != sock.Now()+int64(staleAgain) {
			t.Errorf("resolved to %v, %v; want the old answer for now", a, err)
		}
		close(gate)
		synctest.Wait()
		if got := resolve(t, r, "shop.test"); got != "192.0.2.2" {
			t.Errorf("resolved to %q after the look-up", got)
		}
		wantAsked(t, s, "A shop.test.")

		// LAST is not the only way.
		s.set("A shop.test.")
		s.set("SRV shop.test.", "shop.test. 60 IN SRV 1 1 8080 a.test.")
		s.set("A a.test.", "a.test. 60 IN A 192.0.2.3")
		time.Sleep(time.Minute)
		resolve(t, r, "shop.test")
		synctest.Wait()
		if got := resolve(t, r, "shop.test"); got != "192.0.2.3:8080(a.test)" {
			t.Errorf("resolved to %q", got)
		}
	})
}

// TestWithoutLast shows that the order is gone through each time if it does not
// begin with what was found last.
func TestWithoutLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {shopA}}}
		r := start(t, settings(order(SRV, A)), s)
		resolve(t, r, "shop.test")
		time.Sleep(time.Minute)
		s.took()
		resolve(t, r, "shop.test")
		synctest.Wait()
		wantAsked(t, s, "SRV shop.test.", "A shop.test.")
	})
}

// TestStale shows what is left of an answer when servers are in trouble, and
// when they say that it is no more.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {shopA}, "AAAA shop.test.": {"shop.test. 60 IN AAAA 2001:db8::1"}}}
		r := start(t, settings(once), s)
		resolve(t, r, "shop.test")
		s.set("A shop.test.", "SERVFAIL")
		time.Sleep(time.Minute)
		for range 3 {
			if got := resolve(t, r, "shop.test"); got != "192.0.2.1" {
				t.Fatalf("resolved to %q in trouble: another type is no substitute", got)
			}
			synctest.Wait()
		}
		a, _ := r.Resolve(t.Context(), "shop.test")
		if got := time.Duration(a.Expires - sock.Now()); got != time.Second {
			t.Errorf("to be asked for again in %v, want %v", got, time.Second)
		}
		s.took()
		time.Sleep(time.Second)
		resolve(t, r, "shop.test")
		synctest.Wait()
		wantAsked(t, s, "A shop.test.") // an error is remembered for a second

		time.Sleep(time.Hour - 2*time.Second)
		if got := resolve(t, r, "shop.test"); got != "192.0.2.1" {
			t.Errorf("resolved to %q within the time for old answers", got)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if got := resolve(t, r, "shop.test"); got != "error" {
			t.Errorf("resolved to %q after the time for old answers", got)
		}
		s.set("A shop.test.", shopA)
		time.Sleep(time.Second)
		if got := resolve(t, r, "shop.test"); got != "192.0.2.1" {
			t.Errorf("resolved to %q after the trouble", got)
		}

		s.set("A shop.test.")
		s.set("AAAA shop.test.")
		time.Sleep(time.Minute)
		resolve(t, r, "shop.test")
		synctest.Wait()
		if got := resolve(t, r, "shop.test"); got != "error" {
			t.Errorf("resolved to %q although servers say that it is gone", got)
		}
	})
}

// TestStaleServices shows that trouble with one host of SRV records is not
// taken for word that there is nothing, although another host has no address.
func TestStaleServices(t *testing.T) {
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		gone, troubled := order[0], order[1]
		t.Run(gone+" is gone", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const want = "192.0.2.1:80(a.test) 192.0.2.2:80(b.test)"
				s := &table{zone: map[string][]string{
					"SRV shop.test.": {"shop.test. 60 IN SRV 0 1 80 a.test.", "shop.test. 60 IN SRV 0 1 80 b.test."},
					"A a.test.":      {"a.test. 60 IN A 192.0.2.1"}, "A b.test.": {"b.test. 60 IN A 192.0.2.2"},
				}}
				r := start(t, settings(once), s)
				if got := resolve(t, r, "shop.test"); got != want {
					t.Fatalf("resolved to %q, want %q", got, want)
				}
				s.set("A " + gone + ".test.")
				s.set("A "+troubled+".test.", "SERVFAIL")
				s.set("AAAA "+troubled+".test.", "SERVFAIL")
				time.Sleep(time.Minute)
				for range 2 {
					if got := resolve(t, r, "shop.test"); got != want {
						t.Fatalf("resolved to %q in trouble, want the old answer", got)
					}
					synctest.Wait()
				}

				s.set("A " + troubled + ".test.")
				s.set("AAAA " + troubled + ".test.")
				time.Sleep(time.Minute)
				resolve(t, r, "shop.test")
				synctest.Wait()
				if got := resolve(t, r, "shop.test"); got != "error" {
					t.Errorf("resolved to %q although servers say that both hosts are gone", got)
				}
			})
		})
	}
}

// TestNegative shows how long it is remembered that there is nothing, and that
// there was an error.
func TestNegative(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first []string
		want  time.Duration
	}{
		{"no name", nil, 30 * time.Second},
		{"no record", []string{"shop.test. 60 IN TXT nothing"}, 30 * time.Second},
		{"trouble", []string{"SERVFAIL"}, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(table)
				if tt.first != nil {
					s.set("A shop.test.", tt.first...)
				}
				r := start(t, settings(order(A), once), s)
				resolve(t, r, "shop.test")
				s.set("A shop.test.", shopA)
				time.Sleep(tt.want - time.Nanosecond)
				if got := resolve(t, r, "shop.test"); got != "error" {
					t.Errorf("resolved to %q before its time", got)
				}
				wantAsked(t, s, "A shop.test.")
				time.Sleep(time.Nanosecond)
				if got := resolve(t, r, "shop.test"); got != "192.0.2.1" {
					t.Errorf("resolved to %q in its time", got)
				}
			})
		})
	}
}

// TestOneFlight shows that a name is asked for once, however many want it, and
// that one type of a name is asked for once, whatever it is wanted for.
func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{gate: make(chan struct{}), zone: map[string][]string{
			"A one.test.": {"one.test. 60 IN CNAME shared.test."}, "A two.test.": {"two.test. 60 IN CNAME shared.test."},
			"A shared.test.": {"shared.test. 60 IN A 192.0.2.1"},
		}}
		r := start(t, settings(order(A)), s)
		var asking sync.WaitGroup
		for i := range 30 {
			asking.Go(func() {
				if got := resolve(t, r, []string{"one.test", "two.test", "TWO.test"}[i%3]); got != "192.0.2.1" {
					t.Errorf("resolved to %q", got)
				}
			})
		}
		synctest.Wait()
		close(s.gate)
		asking.Wait()
		wantAsked(t, s, "A one.test.", "A two.test.", "A shared.test.")
	})
}

// TestWaiting shows that who waits can leave, and that the look-up goes on.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{gate: make(chan struct{}), zone: map[string][]string{"A shop.test.": {shopA}}}
		r := start(t, settings(order(A)), s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Resolve(ctx, "shop.test"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, upstream.ErrName) {
			t.Errorf("error %v, want the deadline's and not that the name has no address", err)
		}
		close(s.gate)
		synctest.Wait()
		if got := resolve(t, r, "shop.test"); got != "192.0.2.1" {
			t.Errorf("resolved to %q", got)
		}
		wantAsked(t, s, "A shop.test.")
	})
}

// TestConfigure shows that other settings count at once, and that what is known
// is used until they have led to an answer.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{
			"A shop.test.": {shopA}, "A shop.test.@192.0.2.54:53": {"shop.test. 60 IN A 192.0.2.2"},
		}}
		r := start(t, settings(order(A)), s)
		resolve(t, r, "shop.test")
		r.Configure(settings(order(A)))
		resolve(t, r, "shop.test")
		wantAsked(t, s, "A shop.test.")

		r.Configure(settings(order(A), func(s *Settings) { s.Servers = []netip.AddrPort{serverTwo} }))
		if got := resolve(t, r, "shop.test"); got != "192.0.2.1" {
			t.Errorf("resolved to %q while the other server is asked", got)
		}
		synctest.Wait()
		if got := resolve(t, r, "shop.test"); got != "192.0.2.2" {
			t.Errorf("resolved to %q by the other server", got)
		}
		wantAsked(t, s, "A shop.test.@192.0.2.54:53")
	})
}

// TestClose shows that Close ends look-ups under way.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &table{zone: map[string][]string{"A shop.test.": {"silence"}}}
		r := newResolver(settings(order(A)), quiet(), new(telemetry.NameCounters), s)
		failed := make(chan error, 1)
		go func() {
			_, err := r.Resolve(t.Context(), "shop.test")
			failed <- err
		}()
		synctest.Wait()
		r.Close()
		if err := <-failed; !errors.Is(err, errClosed) {
			t.Errorf("error %v, want %v", err, errClosed)
		}
		if _, err := r.Resolve(t.Context(), "shop.test"); !errors.Is(err, errClosed) {
			t.Errorf("error %v, want %v", err, errClosed)
		}
	})
}

// TestBounds shows that neither names nor questions pile up.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(table)
		r := start(t, settings(), s)
		for i := range 1000 {
			resolve(t, r, fmt.Sprintf("s%d.test", i))
		}
		if n := len(r.names.entries); n != 100 {
			t.Errorf("%d names are kept, want 100", n)
		}
		if n := len(r.gen.queries.entries); n > 100*queriesPerName {
			t.Errorf("%d questions are kept, want at most %d", n, 100*queriesPerName)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &table{gate: make(chan struct{})}
		r := start(t, settings(order(A), func(s *Settings) { s.CacheNames = 1000 }), s)
		var asking sync.WaitGroup
		for i := range 2 * queriesAtOnce {
			asking.Go(func() { resolve(t, r, fmt.Sprintf("s%d.test", i)) })
		}
		synctest.Wait()
		if n := len(s.took()); n != queriesAtOnce {
			t.Errorf("%d questions at once, want %d", n, queriesAtOnce)
		}
		close(s.gate)
		asking.Wait()
		if n := len(s.took()); n != queriesAtOnce {
			t.Errorf("%d further questions, want %d", n, queriesAtOnce)
		}
	})
}

// TestEvict shows that the entry goes that would be first to.
func TestEvict(t *testing.T) {
	c := newCache[int](evictSample, func(until int64) int64 { return until })
	for i := range evictSample {
		c.put(i, int64(100-i))
	}
	c.put(3, 1000)
	c.put(99, 50)
	if _, there := c.entries[evictSample-1]; there || len(c.entries) != evictSample || c.get(3) != 1000 || c.get(99) != 50 {
		t.Errorf("left are %v", c.entries)
	}
}
