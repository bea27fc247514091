package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// write prints the table and fills the files that o names.
func (r *Report) write(o *Options, stdout io.Writer) error {
	if o.JSONFile != "" {
		b, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding the report: %w", err)
		}
		if err := os.WriteFile(o.JSONFile, append(b, '\n'), 0o644); err != nil { //nolint:gosec // A report for all to read.
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if o.MarkdownFile != "" {
		if err := os.WriteFile(o.MarkdownFile, []byte(r.markdown()), 0o644); err != nil { //nolint:gosec // As above.
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	if _, err := io.WriteString(stdout, r.text()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// text is the report for a terminal.
func (r *Report) text() string {
	var b strings.Builder
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		fmt.Fprintf(&b, "%s: %s\n", s.Name, s.Title)
		columns(&b, s.grid())
		b.WriteString("\n")
	}
	if bars := r.bars(); len(bars) > 1 {
		columns(&b, bars)
	}
	return b.String()
}

func columns(w io.Writer, grid [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range grid {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	// Writing to a strings.Builder does not fail.
	_ = tw.Flush()
}

// markdown is the report as a document.
func (r *Report) markdown() string {
	var b strings.Builder
	m := &r.Machine
	fmt.Fprintf(&b, "# Side by side, %s\n\n", r.Started.Format(time.DateOnly))
	fmt.Fprintf(&b, "Medians of %d rounds of %.0f s (idle: at most %d rounds), after %.0f s of warm-up. Contestant on CPU %d, load and origin on CPU %d.\n\n",
		r.Settings.Rounds, r.Settings.Seconds, maxIdleRounds, r.Settings.WarmUpSeconds, m.ProxyCPU, m.LoadCPU)
	if m.SharedCore {
		b.WriteString("**The two CPUs are threads of one core: load slowed the contestants down.**\n\n")
	}
	fmt.Fprintf(&b, "- Machine: %s, %d CPUs, %.1f GB, %s, Linux %s\n", m.CPU, m.CPUs, float64(m.Memory)/1e9, m.System, m.Kernel)
	fmt.Fprintf(&b, "- Load: %s; origin: %s\n", m.Wrk, m.Origin)
	for _, c := range r.Contestants {
		fmt.Fprintf(&b, "- %s: %s; `%s`; %s\n", c.Name, c.Version, c.Command, c.TLS)
	}
	fmt.Fprintf(&b, "- Command: `%s`\n", strings.Join(r.Command, " "))
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", s.Name, s.Title)
		if s.Command != "" {
			fmt.Fprintf(&b, "`%s`\n\n", s.Command)
		}
		pipes(&b, s.grid())
	}
	if bars := r.bars(); len(bars) > 1 {
		b.WriteString("\n## Bars\n\n")
		pipes(&b, bars)
	}
	if err := r.failure(); err != nil {
		fmt.Fprintf(&b, "\n## Failed turns\n\n```\n%v\n```\n", err)
	}
	return b.String()
}

func pipes(b *strings.Builder, grid [][]string) {
	for i, row := range grid {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}

// grid is a scenario's table with its heading. Every row has a ratio to every
// contestant but the first, so the first is compared with all others.
func (s *ScenarioReport) grid() [][]string {
	head := []string{"contestant", s.CostUnit, "range"}
	for _, peer := range s.Standings[1:] {
		head = append(head, "of "+peer.Contestant)
	}
	idle := s.CostUnit == perConnection || s.CostUnit == residentAtAll
	switch {
	case idle:
	case s.CostUnit == perGigabyte:
		head = append(head, "MB/s", "p50 ms", "p99 ms", "core %")
	default:
		head = append(head, "requests/s", "p50 ms", "p99 ms", "core %")
	}
	head = append(head, "resident MB", "errors")
	grid := [][]string{head}
	for i := range s.Standings {
		st := &s.Standings[i]
		row := []string{st.Contestant, s.cost(st.Median.Cost), s.cost(st.Lowest) + " to " + s.cost(st.Highest)}
		for _, peer := range s.Standings[1:] {
			row = append(row, ratio(st, peer.Contestant))
		}
		f := &st.Median
		if !idle {
			rate := f.RequestsPerSecond
			if s.CostUnit == perGigabyte {
				rate = f.MegabytesPerSecond
			}
			row = append(row, fmt.Sprintf("%.0f", rate), millis(f.P50Micros), millis(f.P99Micros), fmt.Sprintf("%.0f", f.CPUPercent))
		}
		grid = append(grid, append(row, fmt.Sprintf("%.1f", f.ResidentBytes/1e6), fmt.Sprint(st.Errors)))
	}
	return grid
}

func (s *ScenarioReport) cost(v float64) string {
	switch s.CostUnit {
	case perRequest, perRoundTrip, perConnect, residentAtAll:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func ratio(st *Standing, peer string) string {
	if st.Contestant == peer {
		return "1"
	}
	v, ok := st.CostRatio[peer]
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}

func millis(us float64) string { return fmt.Sprintf("%.2f", us/1e3) }

// bars is the table of bars with its heading, which is alone without any.
func (r *Report) bars() [][]string {
	grid := [][]string{{"bar", "wanted", "measured", "met"}}
	for _, s := range r.Scenarios {
		if s.Bar == nil {
			continue
		}
		met := "no"
		if s.Bar.Met {
			met = "yes"
		}
		measured := fmt.Sprintf("%.2f", s.Bar.Value)
		if s.Bar.Limit > 100 {
			measured = fmt.Sprintf("%.0f", s.Bar.Value)
		}
		grid = append(grid, []string{s.Name, s.Bar.Text, measured, met})
	}
	return grid
}
