package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ReportVersion numbers the JSON form of Report; it grows when a field changes
// its meaning or goes away.
const ReportVersion = 1

// Report is the outcome of a side-by-side run.
type Report struct {
	Version     int              `json:"version"`
	Started     time.Time        `json:"started"`
	Seconds     float64          `json:"seconds"`
	Command     []string         `json:"command"` // Of this run.
	Machine     Machine          `json:"machine"`
	Settings    Settings         `json:"settings"`
	Contestants []Contestant     `json:"contestants"`
	Scenarios   []ScenarioReport `json:"scenarios"`
}

// Machine says where the run took place.
type Machine struct {
	CPU      string `json:"cpu"`
	CPUs     int    `json:"cpus"`
	Memory   int64  `json:"memory_bytes"`
	Kernel   string `json:"kernel"`
	System   string `json:"system"`
	Go       string `json:"go"`
	Wrk      string `json:"wrk"`
	Origin   string `json:"origin"`
	ProxyCPU int    `json:"proxy_cpu"`
	LoadCPU  int    `json:"load_cpu"`
	// SharedCore says that the two CPUs are threads of one core, so that load
	// slows the contestant down.
	SharedCore bool `json:"shared_core"`
}

// Settings are the options that shape the figures.
type Settings struct {
	Rounds          int     `json:"rounds"`
	Seconds         float64 `json:"seconds"`
	WarmUpSeconds   float64 `json:"warm_up_seconds"`
	IdleConnections int     `json:"idle_connections"`
	IdleSeconds     float64 `json:"idle_seconds"`
}

// Contestant says what ran and how.
type Contestant struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Command string `json:"command"` // DIR stands for the run's temporary folder.
	TLS     string `json:"tls"`     // Version, cipher suite and curve.
}

// ScenarioReport is the outcome of one scenario.
type ScenarioReport struct {
	Name      string     `json:"name"`
	Title     string     `json:"title"`
	CostUnit  string     `json:"cost_unit"`
	Command   string     `json:"command,omitempty"` // The load; ports differ from turn to turn.
	Standings []Standing `json:"standings"`
	Bar       *Bar       `json:"bar,omitempty"`
}

// Standing is how one contestant did in one scenario.
type Standing struct {
	Contestant string  `json:"contestant"`
	Median     Figures `json:"median"`
	// Lowest and Highest are the range of the cost over all turns.
	Lowest  float64 `json:"lowest_cost"`
	Highest float64 `json:"highest_cost"`
	// Errors is the sum over all turns.
	Errors int64 `json:"errors"`
	// CostRatio is the median cost over that of each other contestant;
	// RateRatio the same for requests per second.
	CostRatio map[string]float64 `json:"cost_ratio"`
	RateRatio map[string]float64 `json:"rate_ratio,omitempty"`
	Turns     []Turn             `json:"turns"`
}

// Turn is one measurement. If Failure is set, there are no figures.
type Turn struct {
	Round   int    `json:"round"`
	Failure string `json:"failure,omitempty"`
	Figures
}

// Figures are what one turn measured; zero where a scenario does not ask.
type Figures struct {
	// Cost is that of the fields below which the scenario compares.
	Cost                float64 `json:"cost"`
	CPUMicrosPerRequest float64 `json:"cpu_us_per_request,omitempty"`
	CPUMillisPerGB      float64 `json:"cpu_ms_per_gb,omitempty"`
	BytesPerConnection  float64 `json:"bytes_per_connection,omitempty"`
	CPUPercent          float64 `json:"cpu_percent,omitempty"` // Of the contestant's core.
	RequestsPerSecond   float64 `json:"requests_per_second,omitempty"`
	MegabytesPerSecond  float64 `json:"megabytes_per_second,omitempty"`
	P50Micros           float64 `json:"p50_us,omitempty"`
	P99Micros           float64 `json:"p99_us,omitempty"`
	ResidentBytes       float64 `json:"resident_bytes"`
	Errors              float64 `json:"errors"`
}

// each lists the figures, always in the same order.
func (f *Figures) each() []*float64 {
	return []*float64{
		&f.Cost, &f.CPUMicrosPerRequest, &f.CPUMillisPerGB, &f.BytesPerConnection, &f.CPUPercent,
		&f.RequestsPerSecond, &f.MegabytesPerSecond, &f.P50Micros, &f.P99Micros, &f.ResidentBytes, &f.Errors,
	}
}

// Bar compares Bulwark's cost with what it must reach.
type Bar struct {
	Text  string  `json:"text"`
	Value float64 `json:"value"` // A ratio to the peer, or the cost itself.
	Limit float64 `json:"limit"`
	Met   bool    `json:"met"`
}

// settle computes medians, ratios and the bar from the turns.
func (s *ScenarioReport) settle(b *bar) {
	for i := range s.Standings {
		s.Standings[i].settle()
	}
	for i := range s.Standings {
		st := &s.Standings[i]
		st.CostRatio, st.RateRatio = map[string]float64{}, map[string]float64{}
		for j := range s.Standings {
			peer := &s.Standings[j]
			if i == j {
				continue
			}
			if st.Median.Cost > 0 && peer.Median.Cost > 0 {
				st.CostRatio[peer.Contestant] = st.Median.Cost / peer.Median.Cost
			}
			if st.Median.RequestsPerSecond > 0 && peer.Median.RequestsPerSecond > 0 {
				st.RateRatio[peer.Contestant] = st.Median.RequestsPerSecond / peer.Median.RequestsPerSecond
			}
		}
	}
	s.Bar = s.judge(b)
}

// judge holds Bulwark's standing against the bar. It returns nil if one of the
// two that are compared did not take part or failed.
func (s *ScenarioReport) judge(b *bar) *Bar {
	i := slices.IndexFunc(s.Standings, func(st Standing) bool { return st.Contestant == subject })
	if b == nil || i < 0 || s.Standings[i].Median.Cost == 0 {
		return nil
	}
	st := &s.Standings[i]
	out := &Bar{Value: st.Median.Cost, Limit: b.limit, Text: fmt.Sprintf("at most %.0f %s", b.limit, s.CostUnit)}
	if b.peer != "" {
		ratio, ok := st.CostRatio[b.peer]
		if !ok {
			return nil
		}
		*out = Bar{Value: ratio, Limit: b.factor, Text: fmt.Sprintf("at most %.2f of %s", b.factor, b.peer)}
	}
	out.Met = out.Value <= out.Limit && st.Errors == 0
	return out
}

// settle sums up the turns that did not fail.
func (st *Standing) settle() {
	var good []Figures
	for _, t := range st.Turns {
		if t.Failure == "" {
			good = append(good, t.Figures)
			st.Errors += int64(t.Errors)
		}
	}
	if len(good) == 0 {
		return
	}
	values := make([]float64, len(good))
	for k, out := range st.Median.each() {
		for i := range good {
			values[i] = *good[i].each()[k]
		}
		*out = median(values)
		if k == 0 {
			st.Lowest, st.Highest = slices.Min(values), slices.Max(values)
		}
	}
}

// median sorts values and returns the middle one, or the mean of the two.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// failure joins what went wrong in single turns.
func (r *Report) failure() error {
	var errs []error
	for _, s := range r.Scenarios {
		for _, st := range s.Standings {
			for _, t := range st.Turns {
				if t.Failure != "" {
					errs = append(errs, fmt.Errorf("scenario %q, round %d, %s: %s", s.Name, t.Round, st.Contestant, t.Failure))
				}
			}
		}
	}
	return errors.Join(errs...)
}
