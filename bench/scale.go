package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/bench/routes"
)

// ScaleOptions describes a run with many routes.
type ScaleOptions struct {
	Bulwark string // path of the binary under test
	Routes  int
	// Rounds is how often each thing is measured; a change in this process
	// twenty times as often.
	Rounds int
	// Duration is how long one turn of load is, in whole seconds.
	Duration time.Duration
	// IdleWait is how long a process rests before its memory is read.
	IdleWait time.Duration

	ProxyCPU, LoadCPU int       // as in Options
	Progress          io.Writer // if set, gets a line for each step
}

// The bars of a run with 15,000 routes.
const (
	barCheck  = 2000 // ms
	barApply  = 100  // ms
	barFile   = 1000 // ms
	barMemory = 120  // MB resident
	barLevel  = 1.15 // resident memory after changes, of that before
	barLookup = 0.3  // us
)

// figure is a line of the result.
type figure struct {
	name, unit string
	values     []float64 // the median is what counts
	bar        float64   // at most; 0 for none
}

func (f *figure) median() float64 {
	v := slices.Sorted(slices.Values(f.values))
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

// scaleRun is what the steps of a run share.
type scaleRun struct {
	*run
	o       *ScaleOptions
	figures []figure
}

// Scale measures what many routes cost, prints it beside the bars, and returns
// an error if one is missed.
func Scale(ctx context.Context, o ScaleOptions, stdout io.Writer) (err error) {
	o.Routes, o.Rounds = cmp.Or(o.Routes, routes.DefaultCount), cmp.Or(o.Rounds, DefaultRounds)
	o.Duration, o.IdleWait = cmp.Or(o.Duration, DefaultDuration), cmp.Or(o.IdleWait, DefaultIdleWait)
	compared := &Options{
		Bulwark: o.Bulwark, Contestants: []string{subject}, Rounds: o.Rounds, Duration: o.Duration, IdleWait: o.IdleWait,
		ProxyCPU: o.ProxyCPU, LoadCPU: o.LoadCPU,
	}
	if _, err := compared.plan(); err != nil {
		return err
	}
	r, err := newRun(ctx, compared, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	s := &scaleRun{run: r, o: &o}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"checking the file", s.check},
		{"changing in this process", s.changeInProcess},
		{"looking up", s.lookUp},
		{"changing the file", s.changeFile},
		{"serving", s.serve},
	} {
		if o.Progress != nil {
			_, _ = fmt.Fprintln(o.Progress, step.name)
		}
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return s.print(stdout)
}

func (s *scaleRun) add(f figure) { s.figures = append(s.figures, f) }

// print writes the table and reports the bars that are missed.
func (s *scaleRun) print(w io.Writer) error {
	var missed []string
	var b strings.Builder
	fmt.Fprintf(&b, "routes-15k: %d routes, median of the rounds\n\n%-52s %10s %10s %10s  %s\n", s.o.Routes, "", "median", "worst", "bar", "")
	for i := range s.figures {
		f := &s.figures[i]
		bar, verdict := "", ""
		if f.bar != 0 {
			bar, verdict = fmt.Sprintf("%.4g", f.bar), "met"
			if f.median() > f.bar {
				verdict = "MISSED"
				missed = append(missed, f.name)
			}
		}
		fmt.Fprintf(&b, "%-52s %10.4g %10.4g %10s  %s\n", f.name+", "+f.unit, f.median(), slices.Max(f.values), bar, verdict)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if len(missed) > 0 {
		return fmt.Errorf("bars missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// write writes a configuration into the run's folder and returns its path.
func (s *scaleRun) write(name string, o routes.Options) (string, error) {
	path := filepath.Join(s.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	return path, errors.Join(routes.Write(f, o), f.Close())
}

// options returns those of a file of so many routes for a listener on port.
func (s *scaleRun) options(count, port int) routes.Options {
	return routes.Options{
		Count: count, Origin: fmt.Sprintf("127.0.0.1:%d", s.settings.Origin), Base: "/size/128",
		Node: fmt.Sprintf("node:\n  status: off\n  log: {access: off, level: error}\n  limits: {connections: %d}\n  listeners: [{name: http, address: \"127.0.0.1:%d\"}]\n", s.settings.Connections, port),
	}
}

// check times `bulwark check`.
func (s *scaleRun) check(ctx context.Context) error {
	path, err := s.write("check.yml", s.options(s.o.Routes, 8000))
	if err != nil {
		return err
	}
	f := figure{name: "check", unit: "ms", bar: barCheck}
	for range s.o.Rounds {
		began := time.Now()
		out, err := exec.CommandContext(ctx, s.o.Bulwark, "check", path).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		f.values = append(f.values, inMillis(time.Since(began)))
	}
	s.add(f)
	return nil
}

// begun is a process under test.
type begun struct {
	*process
	port int
	path string // of its configuration
}

// begin starts the binary with a file of so many routes, and waits for the
// first answer.
func (s *scaleRun) begin(ctx context.Context, o routes.Options, port int) (*begun, error) {
	path, err := s.write("kong.yml", o)
	if err != nil {
		return nil, err
	}
	p, err := s.launcher.start(subject, s.run.o.ProxyCPU, filepath.Join(s.dir, "bulwark.log"), []string{s.o.Bulwark, "run", "-c", path})
	if err != nil {
		return nil, err
	}
	b := &begun{process: p, port: port, path: path}
	if err := awaitPorts(ctx, p, port); err != nil {
		p.stop()
		return nil, err
	}
	if err := b.await(ctx, routes.HostOf(0), routes.Path(0)); err != nil {
		p.stop()
		return nil, err
	}
	return b, nil
}

// changeTimeout bounds the wait for one change to serve.
const changeTimeout = 30 * time.Second

// await asks on one connection until the answer is 200.
func (b *begun) await(ctx context.Context, host, path string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, changeTimeout, fmt.Errorf("%s%s was not served within %s", host, path, changeTimeout))
	defer cancel()
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	for {
		status, err := statusOf(ctx, client, fmt.Sprintf("http://127.0.0.1:%d%s", b.port, path), host)
		if err != nil {
			return errors.Join(err, context.Cause(ctx), b.alive())
		}
		if status == http.StatusOK {
			return nil
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

func statusOf(ctx context.Context, client *http.Client, url, host string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, errors.Join(err, resp.Body.Close())
}

// changeFile times the start, reads the memory, and times changes by the file.
func (s *scaleRun) changeFile(ctx context.Context) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	load := figure{name: "start, to the first answer", unit: "ms"}
	fresh := figure{name: "resident, fresh and idle", unit: "MB", bar: barMemory}
	file := figure{name: "change by the file, to the first answer", unit: "ms", bar: barFile}
	o := s.options(s.o.Routes, ports[0])
	began := time.Now()
	b, err := s.begin(ctx, o, ports[0])
	if err != nil {
		return err
	}
	defer b.stop()
	load.values = append(load.values, inMillis(time.Since(began)))
	if err := s.memory(ctx, b, &fresh); err != nil {
		return err
	}
	for i := range s.o.Rounds {
		o.Extra = fmt.Sprintf("/extra-%d", i)
		next, err := s.write("next.yml", o)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := os.Rename(next, b.path); err != nil {
			return err
		}
		if err := b.await(ctx, routes.HostOf(0), o.Extra); err != nil {
			return err
		}
		file.values = append(file.values, inMillis(time.Since(began)))
	}
	after := figure{name: "resident, after changes by the file", unit: "MB", bar: fresh.median() * barLevel}
	if err := s.memory(ctx, b, &after); err != nil {
		return err
	}
	s.add(load)
	s.add(fresh)
	s.add(after)
	s.add(file)
	return nil
}

// memory reads what a process has resident after it has rested.
func (s *scaleRun) memory(ctx context.Context, b *begun, f *figure) error {
	if err := pause(ctx, s.o.IdleWait); err != nil {
		return err
	}
	u, err := usageOf(b.pid())
	f.values = append(f.values, float64(u.resident)/1e6)
	return err
}

// serve measures the CPU time of a request with one route and with all, for
// requests of one route and for requests spread over all services.
func (s *scaleRun) serve(ctx context.Context) error {
	kinds := []struct {
		name          string
		routes, asked int
		figure        figure
	}{
		{name: "1 route", routes: 1, asked: 1},
		{name: "all routes, one asked for", routes: s.o.Routes, asked: 1},
		{name: "all routes, one of each service asked for", routes: s.o.Routes, asked: s.o.Routes},
	}
	for round := range s.o.Rounds {
		for i := range kinds {
			k := &kinds[(i+round)%len(kinds)]
			k.figure.name, k.figure.unit = "CPU per request, "+k.name, "us"
			cpu, err := s.perRequest(ctx, k.routes, k.asked)
			if err != nil {
				return err
			}
			k.figure.values = append(k.figure.values, cpu)
		}
	}
	for i := range kinds {
		f := kinds[i].figure
		if i == 1 {
			f.bar = kinds[0].figure.median() + barLookup
		}
		s.add(f)
	}
	return nil
}

// serveConnections is what wrk opens.
const serveConnections = 64

func (s *scaleRun) perRequest(ctx context.Context, count, asked int) (float64, error) {
	ports, err := freePorts(1)
	if err != nil {
		return 0, err
	}
	o := s.options(count, ports[0])
	o.Shared = true
	b, err := s.begin(ctx, o, ports[0])
	if err != nil {
		return 0, err
	}
	defer b.stop()
	lua, err := peers.ReadFile("peers/report.lua")
	if err != nil {
		return 0, err
	}
	s.script = filepath.Join(s.dir, "routes.lua")
	if err := os.WriteFile(s.script, append(lua, requestsLua(asked)...), 0o600); err != nil {
		return 0, err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", b.port)
	if _, err := s.runWrk(ctx, s.dir, s.script, url, serveConnections, time.Second); err != nil {
		return 0, err
	}
	before, err := usageOf(b.pid())
	if err != nil {
		return 0, err
	}
	rep, err := s.runWrk(ctx, s.dir, s.script, url, serveConnections, s.o.Duration)
	if err != nil {
		return 0, err
	}
	after, err := usageOf(b.pid())
	if err != nil {
		return 0, err
	}
	if n := rep.errors(); n > 0 {
		return 0, fmt.Errorf("%d requests of %d went wrong", n, rep.Requests)
	}
	return float64((after.cpu - before.cpu).Microseconds()) / float64(rep.Requests), nil
}

// requestsLua is a script that asks for the first route of each service in
// turn, among so many routes.
func requestsLua(asked int) string {
	var b strings.Builder
	b.WriteString("local all = {\n")
	for n := 0; n < asked; n += routes.PerService {
		fmt.Fprintf(&b, "\"GET %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n\",\n", routes.Path(n), routes.HostOf(n))
	}
	b.WriteString("}\nlocal at = 0\nfunction request()\n  at = at % #all + 1\n  return all[at]\nend\n")
	return b.String()
}

func inMillis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
