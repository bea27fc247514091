package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// wrkTimeout is after how long wrk counts an answer as late. It is far above
// any latency that is compared here.
const wrkTimeout = 10 * time.Second

// wrkReport is the line that peers/report.lua prints; times in microseconds.
type wrkReport struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
	Duration int64 `json:"duration"`
	P50      int64 `json:"p50"`
	P99      int64 `json:"p99"`
	Max      int64 `json:"max"`
	Connect  int64 `json:"connect"`
	Read     int64 `json:"read"`
	Write    int64 `json:"write"`
	Timeout  int64 `json:"timeout"`
	Status   int64 `json:"status"`
}

// errors is the number of requests that did not go well.
func (r *wrkReport) errors() int64 { return r.Connect + r.Read + r.Write + r.Timeout + r.Status }

// wrkArgs is wrk's command line without its path; wrk counts whole seconds.
func wrkArgs(script, url string, conns int, d time.Duration) []string {
	return []string{
		"-t1", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency",
		"--timeout", fmt.Sprintf("%ds", int(wrkTimeout.Seconds())), "-s", script, url,
	}
}

// runWrk loads url and waits for the report.
func (r *run) runWrk(ctx context.Context, dir, script, url string, conns int, d time.Duration) (wrkReport, error) {
	output := filepath.Join(dir, "wrk.log")
	argv := append([]string{r.wrk}, wrkArgs(script, url, conns, d)...)
	p, err := r.launcher.start("wrk", r.o.LoadCPU, output, argv)
	if err != nil {
		return wrkReport{}, err
	}
	defer p.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, d+2*wrkTimeout, fmt.Errorf("wrk did not end within %s", d+2*wrkTimeout))
	defer cancel()
	if err := p.wait(ctx); err != nil {
		return wrkReport{}, err
	}
	b, err := os.ReadFile(output)
	if err != nil {
		return wrkReport{}, fmt.Errorf("reading wrk's output: %w", err)
	}
	return parseWrk(string(b))
}

func parseWrk(out string) (wrkReport, error) {
	for line := range strings.Lines(out) {
		raw, ok := strings.CutPrefix(line, "report ")
		if !ok {
			continue
		}
		var rep wrkReport
		if err := json.Unmarshal([]byte(raw), &rep); err != nil {
			return wrkReport{}, fmt.Errorf("reading wrk's report %q: %w", raw, err)
		}
		if rep.Requests == 0 {
			return wrkReport{}, fmt.Errorf("wrk got no answer; its output was:\n%s", out)
		}
		return rep, nil
	}
	return wrkReport{}, fmt.Errorf("wrk printed no report; its output was:\n%s", out)
}
