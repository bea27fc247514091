package handshake

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// ResultVersion numbers the JSON form of Result; it grows when a field changes
// its meaning or goes away.
const ResultVersion = 1

// Result is what one run measured.
type Result struct {
	Version     int     `json:"version"`
	URL         string  `json:"url"`
	Connections int     `json:"connections"`
	Curve       string  `json:"curve"`
	Seconds     float64 `json:"seconds"`

	Handshakes int64            `json:"handshakes"` // that came to their answer
	Resumed    int64            `json:"resumed"`    // of them
	Bytes      int64            `json:"bytes_received"`
	Errors     map[string]Fault `json:"errors"` // by what was being done

	// From the connect to the answer's end, in microseconds.
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p99_9"`
	Max  int64 `json:"max"`
}

// Fault is one kind of error.
type Fault struct {
	Count int64  `json:"count"`
	First string `json:"first"` // the text of the first one
}

// Failures is how many errors there were.
func (r *Result) Failures() (n int64) {
	for _, f := range r.Errors {
		n += f.Count
	}
	return n
}

func (m *measurement) result(took time.Duration) *Result {
	return &Result{
		Version: ResultVersion, URL: m.o.URL, Connections: m.o.Connections, Curve: m.o.Curve, Seconds: took.Seconds(),
		Handshakes: m.handshakes, Resumed: m.resumed, Bytes: m.bytes, Errors: m.errors,
		P50: m.latency.ValueAtQuantile(50), P99: m.latency.ValueAtQuantile(99),
		P999: m.latency.ValueAtQuantile(99.9), Max: m.latency.Max(),
	}
}

func (r *Result) write(w io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("load", "%s, %d connections at once, %s", r.URL, r.Connections, r.Curve)
	row("handshakes", "%d in %.2f s, %.0f/s, %d of them resumed", r.Handshakes, r.Seconds, float64(r.Handshakes)/r.Seconds, r.Resumed)
	row("latency", "p50 %d us, p99 %d us, p99.9 %d us, max %d us", r.P50, r.P99, r.P999, r.Max)
	row("received", "%.1f MB", float64(r.Bytes)/1e6)
	row("errors", "%d", r.Failures())
	var doing []string
	for d := range r.Errors {
		doing = append(doing, d)
	}
	slices.Sort(doing)
	for _, d := range doing {
		row("  "+d, "%d, the first: %s", r.Errors[d].Count, r.Errors[d].First)
	}
	return tw.Flush()
}
