package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

func TestStatusSet(t *testing.T) {
	s := NewStatusSet([]int{100, 200, 999, -1, 5000})
	for status, want := range map[int]bool{100: true, 200: true, 999: true, 201: false, 0: false, -1: false, 1024: false, 5000: false} {
		if s.Has(status) != want {
			t.Errorf("Has(%d) = %v", status, !want)
		}
	}
}

// TestHealthReport plays outcomes to an endpoint. In a script, + is an answer
// of a healthy status, 5 of an unhealthy one, ? of one that is neither, r a
// refused connection, t a timeout, x an answer that is none, and 0 an outcome that
// says nothing.
func TestHealthReport(t *testing.T) {
	healthy, unhealthy := NewStatusSet([]int{200}), NewStatusSet([]int{500})
	full := CheckRules{Successes: 2, HTTPFailures: 3, TCPFailures: 2, Timeouts: 4, Healthy: healthy, Unhealthy: unhealthy}
	once := full
	once.Successes = 0
	tcp := CheckRules{Successes: 1, TCPFailures: 1, AnyStatus: true, Unhealthy: unhealthy, HTTPFailures: 1}
	never := CheckRules{Healthy: healthy, Unhealthy: unhealthy}
	outcomes := map[rune]Outcome{
		'+': {Kind: OutcomeStatus, Status: 200}, '5': {Kind: OutcomeStatus, Status: 500}, '?': {Kind: OutcomeStatus, Status: 404},
		'r': {Kind: OutcomeConnect}, 't': {Kind: OutcomeTimeout}, '0': {}, 'x': {Kind: OutcomeStatus},
	}
	tests := []struct {
		name   string
		rules  CheckRules
		script string
		want   string // the state after each outcome: h or u
	}{
		{"statuses", full, "555", "hhu"},
		{"connections", full, "rr", "hu"},
		{"timeouts", full, "tttt", "hhhu"},
		{"neither status counts nor resets", full, "55??5", "hhhhu"},
		{"a success resets all failures", full, "55rttt+55rttt", "hhhhhhhhhhhhh"},
		{"kinds are counted apart", full, "5r5tt", "hhhhh"},
		{"what says nothing", full, "r0r", "hhu"},
		{"recovery", full, "rr++", "huuh"},
		{"a failure resets the successes", full, "rr+5++", "huuuuh"},
		{"failures of one who is down", full, "rrrr5t++55", "huuuuuuhhh"},
		{"counts begin anew after a recovery", full, "5rr++55", "hhuuhhh"},
		{"no recovery by traffic", once, "rr+++", "huuuu"},
		{"a success resets where none recovers", once, "r+r+rr", "hhhhhu"},
		{"answers that are none", full, "xxx", "hhu"},
		{"any status", tcp, "5?r5", "hhuh"},
		{"no count", never, "555rrrttt", "hhhhhhhhh"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := new(health)
			var got strings.Builder
			last := true
			for i, c := range tt.script {
				o, ok := outcomes[c]
				if !ok {
					t.Fatalf("unknown outcome %q", c)
				}
				changed := h.report(o, &tt.rules, false, int64(i+1))
				if changed != (h.healthy() != last) {
					t.Errorf("after %q: changed is %v", tt.script[:i+1], changed)
				}
				last = h.healthy()
				if last {
					got.WriteByte('h')
				} else {
					got.WriteByte('u')
				}
			}
			if got.String() != tt.want {
				t.Errorf("%s: %s, want %s", tt.script, got.String(), tt.want)
			}
		})
	}
}

// TestHealthProbes shows that probes are counted by the limits of active
// checks, in the same counts as traffic.
func TestHealthProbes(t *testing.T) {
	checks := passive(0)
	checks.Passive.TCPFailures = 3
	checks.Active = CheckRules{TCPFailures: 2, Successes: 2, Healthy: NewStatusSet([]int{204})}
	b := NewBalancer(newSet(t), Spec{Targets: targets(1), Checks: checks}, nil)
	e := b.Endpoints()[0]
	e.Report(Outcome{Kind: OutcomeConnect}, sock.Now())
	e.ReportProbe(Outcome{Kind: OutcomeConnect})
	if e.Healthy() {
		t.Error("two failures in a row, the second a probe: still healthy")
	}
	if got, want := b.Health().Targets[0].Addresses[0].Why, "probes: 2 connection failures"; got != want {
		t.Errorf("why: %q, want %q", got, want)
	}
	e.ReportProbe(Outcome{Kind: OutcomeStatus, Status: 200}) // not a status of the active check
	e.ReportProbe(Outcome{Kind: OutcomeStatus, Status: 204})
	e.ReportProbe(Outcome{Kind: OutcomeStatus, Status: 204})
	if !e.Healthy() {
		t.Error("after two probes that went well: still unhealthy")
	}
}

// TestHealthOfTrafficAndProbes shows that traffic that goes well does not hide
// probes that do not, nor the reverse.
func TestHealthOfTrafficAndProbes(t *testing.T) {
	good, bad := Outcome{Kind: OutcomeStatus, Status: 200}, Outcome{Kind: OutcomeStatus, Status: 500}
	for _, successes := range []int{0, 1} {
		rules := CheckRules{Successes: successes, HTTPFailures: 2, Healthy: NewStatusSet([]int{200}), Unhealthy: NewStatusSet([]int{500})}
		for name, probes := range map[string]bool{"probes fail": true, "traffic fails": false} {
			t.Run(fmt.Sprintf("%s, %d successes", name, successes), func(t *testing.T) {
				h := new(health)
				for i, step := range []struct {
					o      Outcome
					active bool
					want   bool
				}{
					{bad, probes, true},
					{good, !probes, true},
					{good, probes, true}, // the row has ended
					{bad, probes, true},
					{good, !probes, true},
					{bad, probes, false},
				} {
					h.report(step.o, &rules, step.active, int64(i+1))
					if h.healthy() != step.want {
						t.Fatalf("step %d: healthy is %v", i, !step.want)
					}
				}
			})
		}
	}
}

func TestThreshold(t *testing.T) {
	tests := []struct {
		threshold float64
		down      int // of 4 targets of equal weight
		want      error
	}{
		{0, 3, nil},
		{0, 4, ErrUnhealthy},
		{25, 2, nil},
		{25, 3, ErrUnhealthy}, // at the threshold is not above it
		{50, 1, nil},
		{50, 2, ErrUnhealthy},
		{100, 0, ErrUnhealthy},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v with %d down", tt.threshold, tt.down), func(t *testing.T) {
			b := NewBalancer(newSet(t), Spec{Targets: targets(5, 5, 5, 5, 0), Checks: passive(tt.threshold)}, nil)
			for _, e := range b.Endpoints()[:tt.down] {
				e.Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
			}
			if _, err := b.Pick(nil); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			want := HealthHealthy
			if tt.want != nil {
				want = HealthUnhealthy
			}
			if got := b.Health().State; got != want {
				t.Errorf("state %s, want %s", got, want)
			}
		})
	}
}

// TestBalancerHealth looks at a balancer in each state of its targets.
func TestBalancerHealth(t *testing.T) {
	spec := Spec{
		Targets: []Target{
			{Host: "192.0.2.1", Port: 80, Weight: 10},
			{Host: "two.test", Port: 81, Weight: 10},
			{Host: "none.test", Port: 82, Weight: 10},
			{Host: "192.0.2.9", Port: 83},
		},
		Algorithm: LeastConnections, Checks: passive(0),
	}
	b := NewBalancer(newSet(t), spec, nil)
	for _, target := range b.Health().Targets {
		if target.State != HealthOff || target.Addresses != nil {
			t.Errorf("before any look-up: %+v", target)
		}
	}
	w := b.build(map[string][]Record{"two.test": {
		{Addr: netip.MustParseAddr("192.0.2.2"), Weight: 1},
		{Addr: netip.MustParseAddr("192.0.2.3"), Port: 91, Weight: 3},
	}}, nil)
	b.until.Store(1 << 62)
	b.wheel.Store(w)
	all := b.Endpoints()
	all[0].Report(Outcome{Kind: OutcomeStatus, Status: 500}, 1)
	all[1].Report(Outcome{Kind: OutcomeTimeout}, 1)
	if e := mustPick(t, b, nil); e != all[2] {
		t.Fatalf("%v was picked, want %v", e.Addr, all[2].Addr)
	}
	want := BalancerHealth{Algorithm: LeastConnections, State: HealthHealthy, Targets: []TargetHealth{
		{Target: spec.Targets[0], State: HealthUnhealthy, Source: "A", Addresses: []AddressHealth{
			{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Weight: 10, State: HealthUnhealthy, Why: "traffic: 1 answers, the last of status 500"},
		}},
		{Target: spec.Targets[1], State: HealthHealthy, Source: "SRV", Addresses: []AddressHealth{
			{Addr: netip.MustParseAddrPort("192.0.2.2:81"), Weight: 2.5, State: HealthUnhealthy, Why: "traffic: 1 timeouts"},
			{Addr: netip.MustParseAddrPort("192.0.2.3:91"), Weight: 7.5, State: HealthHealthy, Open: 1},
		}},
		{Target: spec.Targets[2], State: HealthDNSError, Why: "name resolution failed"},
		{Target: spec.Targets[3], State: HealthOff, Source: "A"},
	}}
	got := b.Health()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(AddressHealth{}, "Since"), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
	if got.Targets[0].Addresses[0].Since.IsZero() || !got.Targets[1].Addresses[1].Since.IsZero() {
		t.Error("since is told for an address that did not change, or not for one that did")
	}

	off := NewBalancer(newSet(t), Spec{Targets: targets(1)}, nil).Health()
	if off.State != HealthOff || off.Targets[0].State != HealthOff || off.Targets[0].Addresses[0].Open != -1 {
		t.Errorf("without checks: %+v", off)
	}
}

// TestAdoption shows what a balancer keeps over a reload and over a change of
// addresses.
func TestAdoption(t *testing.T) {
	s := newSet(t)
	spec := Spec{Targets: targets(1, 1, 1), Algorithm: LeastConnections, Checks: passive(0)}
	old := NewBalancer(s, spec, nil)
	if NewBalancer(s, spec, old) != old {
		t.Error("a balancer of the same making was not adopted")
	}
	busy := old.Endpoints()[0]
	if picked := mustPick(t, old, &Choice{Tried: func(a netip.AddrPort) bool { return a != busy.Addr }}); picked != busy {
		t.Fatalf("%v was picked, want %v", picked.Addr, busy.Addr)
	}
	old.Endpoints()[1].Report(Outcome{Kind: OutcomeTimeout}, sock.Now())

	more := spec
	more.Targets = targets(1, 1, 1, 1)[1:] // without the first, with a fourth
	more.Targets = append(more.Targets, spec.Targets[0])
	b := NewBalancer(s, more, old)
	all := b.Endpoints()
	if all[0].Healthy() || !all[1].Healthy() || all[3].load.open.Load() != 1 {
		t.Errorf("after a reload: second healthy %v, third healthy %v, %d tries at the first", all[0].Healthy(), all[1].Healthy(), all[3].load.open.Load())
	}
	// Both snapshots serve for a while: each sees what the other reports.
	old.Endpoints()[2].Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
	all[3].Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
	if _, err := old.Pick(nil); !errors.Is(err, ErrUnhealthy) {
		t.Errorf("the old balancer does not see what the new one was told: %v", err)
	}
	if e := mustPick(t, b, nil); e != all[2] {
		t.Errorf("%v was picked, want %v, the only healthy one", e.Addr, all[2].Addr)
	}
	busy.End()
	if n := all[3].load.open.Load(); n != 0 {
		t.Errorf("%d tries at the first after its end", n)
	}

	changed := more
	changed.Checks.Passive.Timeouts = 7
	for _, e := range NewBalancer(s, changed, b).Endpoints() {
		if !e.Healthy() {
			t.Errorf("%v is unhealthy by checks that are gone", e.Addr)
		}
	}
}

// TestAdoptionOfAddresses shows that an address that a name loses and gets back
// is known still.
func TestAdoptionOfAddresses(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: []Target{{Host: "a.test", Port: 80, Weight: 1}}, Checks: passive(0)}, nil)
	one, two := Record{Addr: netip.MustParseAddr("192.0.2.1"), Weight: 1}, Record{Addr: netip.MustParseAddr("192.0.2.2"), Weight: 1}
	w := b.build(map[string][]Record{"a.test": {one, two}}, nil)
	w.endpoints[0].Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
	if w := b.build(map[string][]Record{"a.test": {two}}, w); !w.endpoints[0].Healthy() {
		t.Error("the address that stays is unhealthy")
	}
	if w := b.build(map[string][]Record{"a.test": {two, one}}, nil); w.endpoints[1].Healthy() || !w.endpoints[0].Healthy() {
		t.Error("the address that came back is healthy, or the other is not")
	}
}

// TestAdoptionOfSteadyAddress shows that how long an address has not changed
// takes nothing of what is kept when it is gone for a moment.
func TestAdoptionOfSteadyAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fakeDNS)
		s := newSet(t)
		s.SetResolver(f)
		b := NewBalancer(s, Spec{Targets: []Target{shop}, Algorithm: LeastConnections, Checks: passive(0), Resilience: Resilience{Connections: 1}}, nil)
		answer := func(records string) *Endpoint {
			f.set(map[string]string{shop.Host: records})
			time.Sleep(fakeTTL)
			b.Endpoints()
			synctest.Wait()
			return b.Endpoints()[0]
		}
		answer("192.0.2.1")
		e := mustPick(t, b, nil)
		e.Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
		for range 2 * stateKept / fakeTTL {
			answer("192.0.2.1")
		}
		answer("192.0.2.2")
		back := answer("192.0.2.1")
		if back.Healthy() || back.load.open.Load() != 1 {
			t.Errorf("the address that came back: healthy %v, %d tries under way; want what was known of it", back.Healthy(), back.load.open.Load())
		}
		if e.End(); back.load.open.Load() != 0 {
			t.Errorf("%d tries under way after the end of the only one", back.load.open.Load())
		}
	})
}

// TestAdoptionRefused shows that a balancer which is made, but never serves,
// takes nothing away from the one that goes on to serve.
func TestAdoptionRefused(t *testing.T) {
	two := targets(1, 1)
	for name, refused := range map[string][]Target{"address": two[1:], "address and name": {two[1], shop}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSet(t)
				spec := func(list ...Target) Spec { return Spec{Targets: list, Checks: passive(0)} }
				serving := NewBalancer(s, spec(two[0]), nil)
				serving.Endpoints()[0].Report(Outcome{Kind: OutcomeTimeout}, sock.Now())
				time.Sleep(stateKept + time.Second)
				NewBalancer(s, spec(refused...), serving)
				if e := NewBalancer(s, spec(two...), serving).Endpoints()[0]; e.Healthy() {
					t.Error("what was known of an address in use was forgotten")
				}
			})
		})
	}
}

// TestRegistryKeepsBusy shows that tries are counted out where they were counted
// in, however long they take.
func TestRegistryKeepsBusy(t *testing.T) {
	var r registry[load]
	for i, count := range []func(*load){
		func(*load) {},
		func(l *load) { l.open.Add(1) },
		func(l *load) { l.pending.Add(1) },
	} {
		count(r.get(stateKey{target: fmt.Sprint(i)}, 0))
	}
	r.prune(stateKept+1, (*load).busy)
	if len(r.entries) != 2 || r.entries[stateKey{target: "0"}] != nil {
		t.Errorf("%d entries are left, want the two that are busy", len(r.entries))
	}
}

func TestRegistryForgets(t *testing.T) {
	var r registry[load]
	key := func(n int) stateKey { return stateKey{target: fmt.Sprint(n)} }
	r.get(key(1), 0)
	kept := r.get(key(2), 0)
	r.get(key(2), stateKept+1)
	r.prune(stateKept+1, nil)
	if len(r.entries) != 1 || r.get(key(2), stateKept+1) != kept {
		t.Errorf("%d entries after a prune, want only the one in use", len(r.entries))
	}
	for n := range maxStates + 10 {
		r.get(key(n), stateKept+2)
	}
	r.get(key(7), stateKept+3)
	r.prune(stateKept+3, nil)
	if len(r.entries) != 1 {
		t.Errorf("%d entries after a prune of too many, want only the one in use", len(r.entries))
	}
}
