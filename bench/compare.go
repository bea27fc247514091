package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults and bounds of a side-by-side run.
const (
	DefaultRounds   = 5
	DefaultDuration = 5 * time.Second
	DefaultWarmUp   = time.Second
	DefaultIdle     = 5000
	DefaultIdleWait = 20 * time.Second

	quickRounds   = 2
	quickDuration = 2 * time.Second
	quickIdle     = 1000
	quickIdleWait = 5 * time.Second

	maxRounds   = 100
	maxDuration = 10 * time.Minute
	maxIdle     = 25000 // Connections; each takes a port of one address pair.
	// maxIdleRounds bounds the rounds of idle scenarios, whose figures hardly
	// differ between rounds.
	maxIdleRounds = 3

	// loadConnections is what the largest load scenario opens.
	loadConnections = 1000
	// upstreamIdle is how many idle connections to the origin a contestant may
	// keep: enough for every client connection of the load scenarios.
	upstreamIdle = 1024
	// largest is the length of the largest body that is requested.
	largest = 10 << 20
	medium  = 100 << 10
	small   = 128
)

// Options describes a side-by-side run.
type Options struct {
	// Bulwark is the path of the binary under test; needed if Bulwark is among
	// the contestants or is the origin.
	Bulwark string
	// Contestants are bulwark, nginx and haproxy; empty means all three. The
	// order is that of the report.
	Contestants []string
	// Scenarios are names of ScenarioNames; empty means all.
	Scenarios []string
	// Origin is the server behind the contestants: nginx, the default, or
	// bulwark for Bulwark's own demo origin.
	Origin string

	// Rounds is how often each contestant takes its turn in each scenario.
	Rounds int
	// Duration is how long one turn is measured, WarmUp how long load runs
	// before; both in whole seconds.
	Duration time.Duration
	WarmUp   time.Duration
	// NoWarmUp measures from the first request on.
	NoWarmUp bool
	// IdleConnections is the number of idle connections; IdleWait how long
	// they rest before memory is read.
	IdleConnections int
	IdleWait        time.Duration
	// idleTold says that the number is not that of a scenario.
	idleTold bool
	// Quick shortens what is not set otherwise, for a first impression.
	Quick bool

	// ProxyCPU runs the contestants, LoadCPU the load and the origin. They
	// must differ; both zero means 0 and 1.
	ProxyCPU, LoadCPU int

	// JSONFile and MarkdownFile, if set, get the report in these forms.
	JSONFile, MarkdownFile string
	// Progress, if set, gets a line for each turn.
	Progress io.Writer
}

// ScenarioNames lists the scenarios, in order.
func ScenarioNames() []string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return names
}

// Compare runs the scenarios and writes the report to stdout as a table and to
// the files that o names. A turn that fails does not end the run: it is in the
// report, and in the error that Compare then returns.
func Compare(ctx context.Context, o Options, stdout io.Writer) error {
	picked, err := o.plan()
	if err != nil {
		return err
	}
	r, err := newRun(ctx, &o, picked)
	if err != nil {
		return err
	}
	rep, err := r.compare(ctx, picked)
	if err := errors.Join(err, r.close()); err != nil {
		return err
	}
	if err := rep.write(&o, stdout); err != nil {
		return err
	}
	return rep.failure()
}

// plan fills the defaults, checks everything and reports all faults at once.
func (o *Options) plan() ([]scenario, error) {
	o.idleTold = o.IdleConnections != 0 || o.Quick
	pickInt := func(v *int, normal, quick int) {
		if *v == 0 {
			*v = normal
			if o.Quick {
				*v = quick
			}
		}
	}
	pickTime := func(v *time.Duration, normal, quick time.Duration) {
		if *v == 0 {
			*v = normal
			if o.Quick {
				*v = quick
			}
		}
	}
	pickInt(&o.Rounds, DefaultRounds, quickRounds)
	pickInt(&o.IdleConnections, DefaultIdle, quickIdle)
	pickTime(&o.Duration, DefaultDuration, quickDuration)
	pickTime(&o.WarmUp, DefaultWarmUp, DefaultWarmUp)
	pickTime(&o.IdleWait, DefaultIdleWait, quickIdleWait)
	if o.NoWarmUp {
		o.WarmUp = 0
	}
	if len(o.Contestants) == 0 {
		o.Contestants = []string{subject, "nginx", "haproxy"}
	}
	if o.Origin == "" {
		o.Origin = "nginx"
	}
	if o.ProxyCPU == 0 && o.LoadCPU == 0 {
		o.LoadCPU = 1
	}
	picked, err := pick(o.Scenarios)
	errs := []error{err, checkCPUs(o.ProxyCPU, o.LoadCPU)}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.Rounds > 0 && o.Rounds <= maxRounds, "rounds is %d; want 1 to %d", o.Rounds, maxRounds)
	check(o.Duration >= time.Second && o.Duration <= maxDuration && o.Duration%time.Second == 0,
		"duration is %s; want whole seconds, 1s to %s", o.Duration, maxDuration)
	check(o.WarmUp >= 0 && o.WarmUp <= maxDuration && o.WarmUp%time.Second == 0,
		"warm-up is %s; want whole seconds, up to %s", o.WarmUp, maxDuration)
	check(o.IdleConnections > 0 && o.IdleConnections <= maxIdle, "idle connections is %d; want 1 to %d", o.IdleConnections, maxIdle)
	check(o.IdleWait > 0 && o.IdleWait <= maxDuration, "idle wait is %s; want up to %s", o.IdleWait, maxDuration)
	check(o.Origin == "nginx" || o.Origin == subject, "origin %q is unknown; known are nginx, bulwark", o.Origin)
	for i, c := range o.Contestants {
		check(!slices.Contains(o.Contestants[:i], c), "contestant %q is named twice", c)
	}
	return picked, errors.Join(errs...)
}

// checkCPUs refuses to measure where the contestant would share its core.
func checkCPUs(proxy, load int) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("reading the CPUs of this process: %w", err)
	}
	if n := set.Count(); n < 2 {
		return fmt.Errorf("a side-by-side run needs 2 CPUs, one for the contestant and one for load and origin; this process may use %d", n)
	}
	if proxy == load {
		return fmt.Errorf("CPU %d is to run both the contestant and the load; choose two", proxy)
	}
	for _, cpu := range []int{proxy, load} {
		if cpu < 0 || !set.IsSet(cpu) {
			return fmt.Errorf("cannot use CPU %d; choose one that this process may run on", cpu)
		}
	}
	return nil
}

// run is one side-by-side run: what all of its turns share.
type run struct {
	o        *Options
	dir      string // Removed at the end, with everything in it.
	wrk      string
	script   string
	pair     pair
	settings settings // With what does not change between turns.
	programs []program
	report   Report

	launcher     *launcher
	origin       *process
	streamOrigin *process // nil: no scenario needs it
	udpOrigin    *process // nil: no scenario has needed it yet
	halt         context.CancelFunc
	joined       sync.WaitGroup
}

// newRun finds the programs, makes the temporary folder and starts the origin.
func newRun(ctx context.Context, o *Options, picked []scenario) (_ *run, err error) {
	r := &run{o: o, launcher: newLauncher()}
	wrk, err := lookPath("wrk")
	errs := []error{err}
	r.wrk = wrk
	for _, name := range o.Contestants {
		p, err := findProgram(ctx, name, o)
		errs = append(errs, err)
		r.programs = append(r.programs, p)
	}
	origin, err := originProgram(ctx, o)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	connections := max(loadConnections, o.IdleConnections) + spareFiles
	for i := range picked {
		connections = max(connections, picked[i].resting(o)+spareFiles)
	}
	if err := raiseFiles(2*connections + 2*spareFiles); err != nil {
		return nil, err
	}
	if r.pair, err = newPair(); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "bulwark-bench-"); err != nil {
		return nil, fmt.Errorf("making a temporary folder: %w", err)
	}
	halted, halt := context.WithCancel(context.WithoutCancel(ctx))
	r.halt = halt
	r.joined.Go(func() { r.launcher.run(halted) })
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if err := r.writeFiles(connections); err != nil {
		return nil, err
	}
	if err := r.startOrigin(ctx, &origin); err != nil {
		return nil, fmt.Errorf("starting the origin: %w", err)
	}
	if slices.ContainsFunc(picked, func(s scenario) bool { return s.stream != "" }) {
		if err := r.startStreamOrigin(ctx); err != nil {
			return nil, fmt.Errorf("starting the origin for TCP: %w", err)
		}
	}
	if err := r.describe(ctx, &origin); err != nil {
		return nil, err
	}
	return r, nil
}

// close stops what runs and removes the temporary folder.
func (r *run) close() error {
	if r.origin != nil {
		r.origin.stop()
	}
	for _, p := range []*process{r.streamOrigin, r.udpOrigin} {
		if p != nil {
			p.stop()
		}
	}
	r.halt()
	r.joined.Wait()
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("removing the temporary folder: %w", err)
	}
	return nil
}

// writeFiles makes the certificate, wrk's script and the settings.
func (r *run) writeFiles(connections int) error {
	lua, err := peers.ReadFile("peers/report.lua")
	if err != nil {
		return fmt.Errorf("reading wrk's script: %w", err)
	}
	ca, client, err := newClient()
	if err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(r.dir, name) }
	r.script = path("report.lua")
	r.settings = settings{
		Root:        os.Geteuid() == 0,
		Connections: connections,
		Upstream:    upstreamIdle,
		Descriptors: connections + 2*upstreamIdle,
		CertFile:    path("cert.pem"), KeyFile: path("key.pem"), BundleFile: path("bundle.pem"),
		CertPEM: r.pair.certPEM, KeyPEM: r.pair.keyPEM,
		ClientCAFile: path("client-ca.pem"), ClientCAPEM: ca.certPEM, ClientFile: path("client.pem"),
		Small: strings.Repeat("bulwark origin, ", small/16),
		Text:  strings.Repeat("bulwark origin, ", wafAnswer/16),
	}
	files := map[string]string{
		r.script:              string(lua),
		r.settings.CertFile:   r.pair.certPEM,
		r.settings.KeyFile:    r.pair.keyPEM,
		r.settings.BundleFile: r.pair.certPEM + r.pair.keyPEM,

		r.settings.ClientCAFile: ca.certPEM,
		r.settings.ClientFile:   client.certPEM + client.keyPEM,
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing a file of the run: %w", err)
		}
	}
	return nil
}

func originProgram(ctx context.Context, o *Options) (program, error) {
	if o.Origin == subject {
		v, err := bulwarkVersion(ctx, o.Bulwark)
		return program{name: "origin", path: o.Bulwark, version: v}, err
	}
	p := program{name: "origin", template: "origin-nginx.conf", args: nginxArgs}
	return p, p.find(ctx, "nginx", "-v")
}

// startOrigin starts the server that all contestants forward to.
func (r *run) startOrigin(ctx context.Context, p *program) error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	r.settings.Origin = ports[0]
	s := r.settings
	s.Dir = filepath.Join(r.dir, "origin")
	www := filepath.Join(s.Dir, "www", "size")
	if err := os.MkdirAll(www, 0o700); err != nil {
		return fmt.Errorf("making its folder: %w", err)
	}
	for name, size := range map[string]int{"100k": medium, "10m": largest} {
		if err := os.WriteFile(filepath.Join(www, name), make([]byte, size), 0o600); err != nil {
			return fmt.Errorf("writing its files: %w", err)
		}
	}
	argv := []string{p.path, "origin", "--address", fmt.Sprintf("127.0.0.1:%d", s.Origin)}
	if p.template != "" {
		if argv, err = p.render(&s); err != nil {
			return err
		}
	}
	if r.origin, err = r.launcher.start("the origin", r.o.LoadCPU, filepath.Join(s.Dir, "output.log"), argv); err != nil {
		return err
	}
	if err := awaitPorts(ctx, r.origin, s.Origin); err != nil {
		return err
	}
	for path, size := range map[string]int64{"/size/128": small, "/size/100k": medium, "/size/10m": largest, "/text/2k": wafAnswer} {
		if _, err := checkAnswer(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", s.Origin, path), size, nil); err != nil {
			return err
		}
	}
	return nil
}
