package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// h2loadProgram is nghttp2's load generator.
const h2loadProgram = "h2load"

// h2Result is what a run of h2load comes to.
type h2Result struct {
	requests, failed int64
	seconds          float64
	p50, p99         float64 // in microseconds
}

// h2loadArgs is h2load's command line without its path.
func h2loadArgs(log, url string, conns, streams int, d time.Duration) []string {
	return []string{
		"-t1", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-m%d", streams), "-D", fmt.Sprint(int(d.Seconds())),
		"--log-file=" + log, url,
	}
}

// loadHTTP2 measures a contestant under h2load.
func (r *run) loadHTTP2(ctx context.Context, sc *scenario, t *started) (Figures, string, error) {
	url := fmt.Sprintf("https://localhost:%d%s", t.settings.HTTPS, sc.path)
	log := filepath.Join(t.settings.Dir, "h2load.requests")
	command := shorten(append([]string{h2loadProgram}, h2loadArgs(log, url, sc.conns, sc.streams, r.o.Duration)...), r.dir)
	if r.o.WarmUp > 0 {
		if _, err := r.runHTTP2(ctx, sc, url, log, r.o.WarmUp); err != nil {
			return Figures{}, command, fmt.Errorf("warming up: %w", err)
		}
	}
	before, err := usageOf(t.pid())
	if err != nil {
		return Figures{}, command, err
	}
	rep, err := r.runHTTP2(ctx, sc, url, log, r.o.Duration)
	if err != nil {
		return Figures{}, command, err
	}
	after, err := t.usageSince(&before)
	if err != nil {
		return Figures{}, command, err
	}
	cpu := after.cpu - before.cpu
	bytes := float64(rep.requests) * small
	if sc.unit == perGigabyte {
		bytes = float64(rep.requests) * medium
	}
	f := Figures{
		CPUMicrosPerRequest: float64(cpu.Microseconds()) / float64(rep.requests),
		CPUMillisPerGB:      cpu.Seconds() * 1e3 / (bytes / 1e9),
		CPUPercent:          cpu.Seconds() / rep.seconds * 100,
		RequestsPerSecond:   float64(rep.requests) / rep.seconds,
		MegabytesPerSecond:  bytes / 1e6 / rep.seconds,
		P50Micros:           rep.p50,
		P99Micros:           rep.p99,
		ResidentBytes:       float64(after.resident),
		Errors:              float64(rep.failed),
	}
	f.Cost = f.CPUMicrosPerRequest
	if sc.unit == perGigabyte {
		f.Cost = f.CPUMillisPerGB
	}
	return f, command, nil
}

// runHTTP2 loads url for d and waits for the result.
func (r *run) runHTTP2(ctx context.Context, sc *scenario, url, log string, d time.Duration) (res h2Result, err error) {
	path, err := exec.LookPath(h2loadProgram)
	if err != nil {
		return res, fmt.Errorf("h2load is not installed; install it with: apt-get install nghttp2-client: %w", err)
	}
	argv := append([]string{path}, h2loadArgs(log, url, sc.conns, sc.streams, d)...)
	p, err := r.launcher.start(h2loadProgram, r.o.LoadCPU, log+".out", argv)
	if err != nil {
		return res, err
	}
	defer p.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, d+streamGrace, fmt.Errorf("h2load did not end within %s", d+streamGrace))
	defer cancel()
	if err := p.wait(ctx); err != nil {
		return res, err
	}
	res, err = readHTTP2Log(log)
	res.seconds = d.Seconds()
	if err == nil && res.requests == 0 {
		err = fmt.Errorf("h2load got no answer; its output ends with:\n%s", tail(log+".out"))
	}
	return res, err
}

// readHTTP2Log reads what h2load says of each request: when it began, its status
// and how long it took, in microseconds. It removes the file, to which another run
// would add.
func readHTTP2Log(path string) (res h2Result, err error) {
	f, err := os.Open(path)
	if err != nil {
		return res, fmt.Errorf("reading h2load's log: %w", err)
	}
	defer f.Close()
	var times []float64
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 3 {
			return res, fmt.Errorf("reading h2load's log: the line %q", lines.Text())
		}
		if words[1] != "200" {
			res.failed++
			continue
		}
		micros, err := strconv.ParseFloat(words[2], 64)
		if err != nil {
			return res, fmt.Errorf("reading h2load's log: %w", err)
		}
		times = append(times, micros)
	}
	if err := lines.Err(); err != nil {
		return res, fmt.Errorf("reading h2load's log: %w", err)
	}
	res.requests = int64(len(times))
	if n := len(times); n > 0 {
		slices.Sort(times)
		res.p50, res.p99 = times[n/2], times[n*99/100]
	}
	if err := os.Remove(path); err != nil {
		return res, fmt.Errorf("removing h2load's log: %w", err)
	}
	return res, nil
}
