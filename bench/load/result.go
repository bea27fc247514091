package load

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ResultVersion numbers the JSON form of Result; it grows when a field changes
// its meaning or goes away.
const ResultVersion = 1

// Result is what one run measured. Rates are per second, times in microseconds
// unless the name says otherwise.
type Result struct {
	Version int `json:"version"`

	URL         string    `json:"url"`
	Method      string    `json:"method"`
	Loop        string    `json:"loop"` // "closed" or "open".
	Connections int       `json:"connections"`
	KeepAlive   bool      `json:"keep_alive"`
	Rate        float64   `json:"rate,omitempty"` // Wanted, in an open loop.
	TLS         string    `json:"tls,omitempty"`  // Version and cipher suite.
	Started     time.Time `json:"started"`

	Seconds          float64          `json:"seconds"`
	Interrupted      bool             `json:"interrupted"`
	Answers          int64            `json:"answers"`
	AnswersPerSecond float64          `json:"answers_per_second"`
	Status           map[string]int64 `json:"status"` // Answers by class, such as "2xx".
	Errors           map[string]Fault `json:"errors"` // Requests without a complete answer, by kind.
	// Unsent is how many requests of an open loop were due, but had found no
	// free connection when the run gave up on them.
	Unsent       int64 `json:"unsent"`
	Opened       int64 `json:"connections_opened"`
	BytesRead    int64 `json:"bytes_read"`
	BytesWritten int64 `json:"bytes_written"`

	// Latency counts from the moment at which a request was due, Service from
	// the moment at which it was sent. They differ in an open loop only.
	Latency Times `json:"latency"`
	Service Times `json:"service"`
}

// Fault is one kind of error.
type Fault struct {
	Count int64  `json:"count"`
	First string `json:"first"` // The text of the first one.
}

// Times sums up a histogram, in microseconds.
type Times struct {
	Mean  float64 `json:"mean"`
	Min   int64   `json:"min"`
	P50   int64   `json:"p50"`
	P75   int64   `json:"p75"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p99_9"`
	P9999 int64   `json:"p99_99"`
	Max   int64   `json:"max"`
}

func timesOf(h *hdrhistogram.Histogram) Times {
	return Times{
		Mean: h.Mean(), Min: h.Min(), Max: h.Max(),
		P50: h.ValueAtQuantile(50), P75: h.ValueAtQuantile(75), P90: h.ValueAtQuantile(90),
		P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), P9999: h.ValueAtQuantile(99.99),
	}
}

func (m *measurement) result(elapsed time.Duration, unsent int64, interrupted bool) *Result {
	o, t := &m.options, &m.total
	r := &Result{
		Version: ResultVersion,
		URL:     o.URL, Method: o.Method, Loop: "closed", Connections: len(m.workers),
		KeepAlive: !o.Reconnect, Rate: o.Rate, Started: m.start.UTC(),
		Seconds: elapsed.Seconds(), Interrupted: interrupted,
		Answers: t.answers(), AnswersPerSecond: float64(t.answers()) / elapsed.Seconds(),
		Status: map[string]int64{}, Errors: map[string]Fault{}, Unsent: unsent,
		Opened: t.opened, BytesRead: t.read, BytesWritten: t.written,
		Latency: timesOf(t.latency), Service: timesOf(t.service),
	}
	if o.Rate > 0 {
		r.Loop = "open"
	}
	if m.state != nil {
		r.TLS = tls.VersionName(m.state.Version) + " " + tls.CipherSuiteName(m.state.CipherSuite)
	}
	for class, n := range t.classes {
		if n > 0 {
			r.Status[fmt.Sprintf("%dxx", class)] = n
		}
	}
	for k, n := range t.errors {
		if n > 0 {
			r.Errors[kind(k).String()] = Fault{Count: n, First: t.samples[k].Error()}
		}
	}
	return r
}

// Failures is the number of requests without a complete answer.
func (r *Result) Failures() (n int64) {
	for _, f := range r.Errors {
		n += f.Count
	}
	return n
}

// WriteJSON writes the result as one indented JSON object.
func (r *Result) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the result for people.
func (r *Result) WriteTable(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("request", "%s %s", r.Method, r.URL)
	how := "closed loop"
	if r.Loop == "open" {
		how = fmt.Sprintf("open loop at %s/s", number(r.Rate))
	}
	if r.KeepAlive {
		how += fmt.Sprintf(", %d connections", r.Connections)
	} else {
		how += fmt.Sprintf(", %d at once, a connection per request", r.Connections)
	}
	if r.TLS != "" {
		how += ", " + r.TLS
	}
	row("load", "%s", how)
	if r.Interrupted {
		row("interrupted", "yes")
	}
	row("answers", "%d in %.2f s, %.0f/s", r.Answers, r.Seconds, r.AnswersPerSecond)
	row("read", "%.1f MB, %.1f MB/s", float64(r.BytesRead)/1e6, float64(r.BytesRead)/1e6/r.Seconds)
	for class := range 10 {
		name := fmt.Sprintf("%dxx", class)
		if n := r.Status[name]; n > 0 {
			row("status "+name, "%d", n)
		}
	}
	row("errors", "%d", r.Failures())
	for k := range kinds {
		if f := r.Errors[k.String()]; f.Count > 0 {
			row("  "+k.String(), "%d, the first: %s", f.Count, f.First)
		}
	}
	if r.Loop == "open" {
		row("unsent", "%d", r.Unsent)
	}
	row("connections", "%d opened", r.Opened)
	fmt.Fprintf(tw, "\nlatency\tmean\tp50\tp90\tp99\tp99.9\tp99.99\tmax\n")
	line := func(name string, t Times) {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, micros(int64(t.Mean)),
			micros(t.P50), micros(t.P90), micros(t.P99), micros(t.P999), micros(t.P9999), micros(t.Max))
	}
	if r.Loop == "open" {
		line("when due", r.Latency)
	}
	line("when sent", r.Service)
	return tw.Flush()
}

// micros prints microseconds in the unit that suits them.
func micros(us int64) string {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.String()
}
