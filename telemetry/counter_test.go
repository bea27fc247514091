package telemetry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHistogram(t *testing.T) {
	tests := []struct {
		name   string
		d      time.Duration
		bucket int
	}{
		{"negative counts as zero", -time.Second, 0},
		{"zero", 0, 0},
		{"on the first bound", durationBounds[0], 0},
		{"above the first bound", durationBounds[0] + 1, 1},
		{"on a middle bound", time.Millisecond, 3},
		{"on the last bound", time.Minute, len(durationBounds) - 1},
		{"above the last bound", time.Minute + 1, len(durationBounds)},
		{"very long", 1000 * time.Hour, len(durationBounds)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h Histogram
			h.Observe(tt.d)
			for i := range h.buckets {
				want := uint64(0)
				if i == tt.bucket {
					want = 1
				}
				if got := h.buckets[i].Load(); got != want {
					t.Errorf("bucket %d holds %d, want %d", i, got, want)
				}
			}
			if got, want := h.Sum(), max(tt.d, 0); got != want {
				t.Errorf("Sum() = %v, want %v", got, want)
			}
			if got := h.Count(); got != 1 {
				t.Errorf("Count() = %d, want 1", got)
			}
		})
	}
}

func TestHistogramBoundsGrow(t *testing.T) {
	for i := 1; i < len(durationBounds); i++ {
		if durationBounds[i] <= durationBounds[i-1] {
			t.Errorf("bound %d, %v, is not above %v", i, durationBounds[i], durationBounds[i-1])
		}
	}
}

func TestCounterVec(t *testing.T) {
	names := []string{"a", "b"}
	v := NewCounterVec(names)
	names[0] = "changed"
	v.Inc(1)
	v.Inc(1)
	v.Inc(0)
	if diff := cmp.Diff([]string{"a", "b"}, v.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if v.Load(0) != 1 || v.Load(1) != 2 {
		t.Errorf("counts = %d, %d, want 1, 2", v.Load(0), v.Load(1))
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	m := NewMetrics(Options{Reasons: []string{"none", "gone"}, UpstreamErrors: []string{"connect"}})
	l := m.Listener("http")
	got := testing.AllocsPerRun(1000, func() {
		l.Accepted.Inc()
		l.Active.Inc()
		l.Refuse(RefusedLimit)
		l.Request(200)
		m.Requests.Observe(3 * time.Millisecond)
		m.Terminations.Inc(1)
		m.UpstreamRetries.Inc()
		m.UpstreamErrors.Inc(0)
	})
	if got != 0 {
		t.Errorf("counting allocates %v times, want 0", got)
	}
}

func BenchmarkRequestCounts(b *testing.B) {
	m := NewMetrics(Options{})
	l := m.Listener("http")
	for b.Loop() {
		l.Request(200)
		m.Requests.Observe(3 * time.Millisecond)
		m.UpstreamRetries.Inc()
	}
}
