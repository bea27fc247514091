package upstream

import (
	"math"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

func TestEWMA(t *testing.T) {
	const second = int64(time.Second)
	var e ewma
	near := func(now int64, want float64) {
		t.Helper()
		if got := e.read(now) / float64(time.Millisecond); math.Abs(got-want) > want/1000 {
			t.Errorf("%v ms, want %v", got, want)
		}
	}
	if e.read(5) != 0 {
		t.Error("an average without a sample")
	}
	e.add(100*time.Millisecond, 5*second)
	near(5*second, 100)
	near(4*second, 100) // another core's clock may have been read before
	near(15*second, 100/math.E)
	e.add(20*time.Millisecond, 15*second)
	near(15*second, 100/math.E+20*(1-1/math.E))
	e.add(0, 1000*second)
	if got := e.read(1000 * second); got <= 0 || got > 10 {
		t.Errorf("%v ns after a long pause and a sample of none, want the sample alone", got)
	}
}

// TestFailureLatency shows that an endpoint that fails fast does not pass for a
// fast one, and that what says nothing is not measured.
func TestFailureLatency(t *testing.T) {
	b := NewBalancer(newSet(t), Spec{Targets: targets(1, 1), Algorithm: Latency}, nil)
	fails, works := b.Endpoints()[0], b.Endpoints()[1]
	fails.Report(Outcome{Kind: OutcomeConnect, Latency: time.Microsecond}, sock.Now())
	works.Report(Outcome{Kind: OutcomeStatus, Status: 200, Latency: 500 * time.Millisecond}, sock.Now())
	works.Report(Outcome{Kind: OutcomeNone, Latency: time.Hour}, sock.Now()+int64(time.Minute))
	for range 20 {
		if e := mustPick(t, b, nil); e != works {
			t.Fatal("the endpoint that fails was picked")
		}
	}
}
