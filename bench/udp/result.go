package udp

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// ResultVersion numbers the JSON form of Result; it grows when a field changes
// its meaning or goes away.
const ResultVersion = 1

// Result is what a run measured. Rates are per second.
type Result struct {
	Version     int       `json:"version"`
	Target      string    `json:"target"`
	Loop        string    `json:"loop"` // "closed" or "open".
	Flows       int       `json:"flows"`
	Size        int       `json:"size"`
	Rate        float64   `json:"rate,omitempty"`     // Wanted, in the open loop.
	MaxLoss     float64   `json:"max_loss,omitempty"` // Of the search that found the rate.
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"`
	Interrupted bool      `json:"interrupted"`

	Sent             int64   `json:"sent"`
	SentPerSecond    float64 `json:"sent_per_second"`
	Answers          int64   `json:"answers"`
	AnswersPerSecond float64 `json:"answers_per_second"`
	// Lost did not come back in time, Late came back after that, or twice.
	Lost int64 `json:"lost"`
	Late int64 `json:"late"`
	// Foreign came back, but were another flow's, or were changed.
	Foreign int64 `json:"foreign"`
	// Errors of sending and receiving; what was not sent counts as lost too.
	Errors     int64  `json:"errors"`
	FirstError string `json:"first_error,omitempty"`

	Latency Times `json:"latency"`
}

// Times sums up a histogram, in microseconds. In the open loop they count from
// when a datagram was due.
type Times struct {
	Mean  float64 `json:"mean"`
	Min   int64   `json:"min"`
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p99_9"`
	P9999 int64   `json:"p99_99"`
	Max   int64   `json:"max"`
}

func (l *load) result(o *Options, started time.Time, elapsed time.Duration, interrupted bool) *Result {
	h, seconds := l.latency, elapsed.Seconds()
	r := &Result{
		Version: ResultVersion, Target: o.Target, Loop: "closed", Flows: len(l.flows), Size: len(l.out),
		Rate: l.rate, Started: started.UTC(), Seconds: seconds, Interrupted: interrupted,
		Sent: l.sent, SentPerSecond: float64(l.sent) / seconds,
		Answers: h.TotalCount(), AnswersPerSecond: float64(h.TotalCount()) / seconds,
		Lost: l.lost, Late: l.late, Foreign: l.foreign, Errors: l.errs,
		Latency: Times{
			Mean: h.Mean(), Min: h.Min(), Max: h.Max(), P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90),
			P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), P9999: h.ValueAtQuantile(99.99),
		},
	}
	if l.rate > 0 {
		r.Loop = "open"
	}
	if l.firstErr != nil {
		r.FirstError = l.firstErr.Error()
	}
	return r
}

// Loss is the share of what was sent that is lost.
func (r *Result) Loss() float64 { return float64(r.Lost) / float64(max(r.Sent, 1)) }

// write prints the result as o wants it.
func (r *Result) write(o *Options, w io.Writer) error {
	if o.JSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	how := "closed loop"
	if r.Loop == "open" {
		how = fmt.Sprintf("open loop at %.0f/s", r.Rate)
	}
	if r.MaxLoss > 0 {
		how += fmt.Sprintf(", the highest rate found with at most %g %% lost", 100*r.MaxLoss)
	}
	row("load", "%s to %s, %d flows, %d bytes", how, r.Target, r.Flows, r.Size)
	if r.Interrupted {
		row("interrupted", "yes")
	}
	row("sent", "%d in %.2f s, %.0f/s", r.Sent, r.Seconds, r.SentPerSecond)
	row("answers", "%d, %.0f/s", r.Answers, r.AnswersPerSecond)
	row("lost", "%d, %.4f %%", r.Lost, 100*r.Loss())
	row("late", "%d", r.Late)
	row("foreign", "%d", r.Foreign)
	row("errors", "%d", r.Errors)
	if r.FirstError != "" {
		row("  the first", "%s", r.FirstError)
	}
	fmt.Fprintf(tw, "\nlatency\tmean\tp50\tp90\tp99\tp99.9\tp99.99\tmax\n")
	t := &r.Latency
	fmt.Fprintf(tw, "\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", micros(int64(t.Mean)),
		micros(t.P50), micros(t.P90), micros(t.P99), micros(t.P999), micros(t.P9999), micros(t.Max))
	return tw.Flush()
}

func micros(us int64) string { return (time.Duration(us) * time.Microsecond).String() }
