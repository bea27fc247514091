package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// compare lets every contestant take its turns.
func (r *run) compare(ctx context.Context, picked []scenario) (*Report, error) {
	for i := range r.programs {
		if err := r.preflight(ctx, &r.programs[i], &r.report.Contestants[i]); err != nil {
			return nil, fmt.Errorf("trying %s: %w", r.programs[i].name, err)
		}
	}
	for i := range picked {
		sr, err := r.scenario(ctx, &picked[i])
		if err != nil {
			return nil, err
		}
		r.report.Scenarios = append(r.report.Scenarios, sr)
	}
	r.report.Seconds = time.Since(r.report.Started).Seconds()
	return &r.report, nil
}

// preflight starts a contestant once, so that a fault shows before the long
// part, and notes how it was started and what it negotiates.
func (r *run) preflight(ctx context.Context, p *program, facts *Contestant) (err error) {
	t, err := r.begin(ctx, p, false, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	facts.Command = t.command
	facts.TLS, err = checkAnswer(ctx, fmt.Sprintf("https://localhost:%d/size/128", t.settings.HTTPS), small, r.pair.tlsConfig())
	return err
}

// scenario runs all rounds of one scenario. The order of the contestants
// rotates, so that none always follows the same one.
func (r *run) scenario(ctx context.Context, sc *scenario) (ScenarioReport, error) {
	rounds := r.o.Rounds
	if sc.idle {
		rounds = min(rounds, maxIdleRounds)
	}
	entrants := r.entrants(sc)
	sr := ScenarioReport{Name: sc.name, Title: sc.title, CostUnit: sc.unit, Standings: make([]Standing, len(entrants))}
	if sc.idle {
		sr.Title = fmt.Sprintf("%d %s", sc.resting(r.o), sc.title)
	}
	for i := range entrants {
		sr.Standings[i].Contestant = entrants[i].name
	}
	for round := range rounds {
		for k := range entrants {
			i := (k + round) % len(entrants)
			figures, command, err := r.turn(ctx, sc, &entrants[i])
			if ctx.Err() != nil {
				return sr, fmt.Errorf("the run was interrupted: %w", context.Cause(ctx))
			}
			if err := r.origin.alive(); err != nil {
				return sr, err
			}
			turn := Turn{Round: round + 1, Figures: figures}
			if err != nil {
				turn.Failure = err.Error()
			}
			sr.Command = command
			sr.Standings[i].Turns = append(sr.Standings[i].Turns, turn)
			r.show(sc, rounds, entrants[i].name, &turn)
		}
	}
	sr.settle(sc.bar)
	return sr, nil
}

func (r *run) show(sc *scenario, rounds int, name string, t *Turn) {
	if r.o.Progress == nil {
		return
	}
	result := "failed: " + t.Failure
	if t.Failure == "" {
		result = fmt.Sprintf("%.2f %s", t.Cost, sc.unit)
	}
	// Progress that cannot be written is no reason to stop measuring.
	_, _ = fmt.Fprintf(r.o.Progress, "%-10s  round %d of %d  %-8s  %s\n", sc.name, t.Round, rounds, name, result)
}

// started is a contestant at work.
type started struct {
	*process
	settings settings
	command  string
}

// begin starts a contestant in a folder of its own and waits until it answers.
func (r *run) begin(ctx context.Context, p *program, logs, mutual bool) (*started, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	s := r.settings
	s.HTTP, s.HTTPS, s.Logs, s.Mutual = ports[0], ports[1], logs, mutual
	t, err := r.launch(p, s)
	if err != nil {
		return nil, err
	}
	err = awaitPorts(ctx, t.process, s.HTTP, s.HTTPS)
	if err == nil {
		_, err = checkAnswer(ctx, fmt.Sprintf("http://127.0.0.1:%d/size/128", s.HTTP), small, nil)
	}
	if err != nil {
		return nil, errors.Join(err, t.end())
	}
	return t, nil
}

// launch starts a contestant in a folder of its own.
func (r *run) launch(p *program, s settings) (*started, error) {
	s.Dir = filepath.Join(r.dir, "contestant")
	t := &started{settings: s}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of %s: %w", p.name, err)
	}
	argv, err := p.render(&s)
	if err != nil {
		return nil, err
	}
	t.command = shorten(argv, r.dir)
	if t.process, err = r.launcher.start(p.name, r.o.ProxyCPU, filepath.Join(s.Dir, "output.log"), argv); err != nil {
		return nil, err
	}
	return t, nil
}

// end stops the contestant and removes its folder, logs included.
func (t *started) end() error {
	t.stop()
	if err := os.RemoveAll(t.settings.Dir); err != nil {
		return fmt.Errorf("removing the folder of %s: %w", t.name, err)
	}
	return nil
}

// turn measures one contestant once.
func (r *run) turn(ctx context.Context, sc *scenario, e *entrant) (_ Figures, command string, err error) {
	begin := func() (*started, error) {
		return r.begin(ctx, e.program, sc.logs && sc.bare == "", sc.shakes == shakesMutual)
	}
	if sc.stream != "" {
		begin = func() (*started, error) { return r.beginStream(ctx, e.program) }
	}
	if sc.request != "" {
		begin = func() (*started, error) { return r.beginWAF(ctx, e.program, sc) }
	}
	if sc.flows > 0 {
		begin = func() (*started, error) { return r.beginUDP(ctx, e.program) }
	}
	t, err := begin()
	if err != nil {
		return Figures{}, "", err
	}
	defer func() { err = errors.Join(err, t.end()) }()
	if sc.flows > 0 {
		return r.loadUDP(ctx, sc, t)
	}
	if sc.idle {
		f, err := r.rest(ctx, sc, t)
		return f, "", err
	}
	if sc.stream != "" {
		return r.loadStream(ctx, sc, t)
	}
	if sc.shakes != "" {
		return r.loadHandshakes(ctx, sc, e, t)
	}
	if sc.streams > 0 {
		return r.loadHTTP2(ctx, sc, t)
	}
	return r.load(ctx, sc, e.path, t)
}

// load measures a contestant under wrk.
func (r *run) load(ctx context.Context, sc *scenario, path string, t *started) (Figures, string, error) {
	url := fmt.Sprintf("http://127.0.0.1:%d%s", t.settings.HTTP, path)
	if sc.tls {
		// By name, so that the client sends an SNI.
		url = fmt.Sprintf("https://localhost:%d%s", t.settings.HTTPS, path)
	}
	script, err := r.wrkScript(sc)
	if err != nil {
		return Figures{}, "", err
	}
	command := shorten(append([]string{"wrk"}, wrkArgs(script, url, sc.conns, r.o.Duration)...), r.dir)
	if r.o.WarmUp > 0 {
		if _, err := r.runWrk(ctx, t.settings.Dir, script, url, sc.conns, r.o.WarmUp); err != nil {
			return Figures{}, command, fmt.Errorf("warming up: %w", err)
		}
	}
	if sc.logs {
		if err := warmPages(t.settings.Dir); err != nil {
			return Figures{}, command, err
		}
	}
	before, err := usageOf(t.pid())
	if err != nil {
		return Figures{}, command, err
	}
	rep, err := r.runWrk(ctx, t.settings.Dir, script, url, sc.conns, r.o.Duration)
	if err != nil {
		return Figures{}, command, err
	}
	after, err := t.usageSince(&before)
	if err != nil {
		return Figures{}, command, err
	}
	cpu := after.cpu - before.cpu
	seconds := float64(rep.Duration) / 1e6
	f := Figures{
		CPUMicrosPerRequest: float64(cpu.Microseconds()) / float64(rep.Requests),
		CPUMillisPerGB:      cpu.Seconds() * 1e3 / (float64(rep.Bytes) / 1e9),
		CPUPercent:          cpu.Seconds() / seconds * 100,
		RequestsPerSecond:   float64(rep.Requests) / seconds,
		MegabytesPerSecond:  float64(rep.Bytes) / 1e6 / seconds,
		P50Micros:           float64(rep.P50),
		P99Micros:           float64(rep.P99),
		ResidentBytes:       float64(after.resident),
		Errors:              float64(rep.errors()),
	}
	f.Cost = f.CPUMicrosPerRequest
	if sc.unit == perGigabyte {
		f.Cost = f.CPUMillisPerGB
	}
	return f, command, nil
}

// warmBytes is what warmPages writes: about the lines of a turn.
const warmBytes = 512 << 20

// warmPages writes a file and removes it, so that the pages that logs are
// written to are the machine's already. On a virtual machine whose balloon
// reports free pages the host has taken them back, and gives them again one by
// one at ten times the cost of the write, to the account of whoever writes
// most (ADR 0007). A machine that has been logging for a while has none such.
func warmPages(dir string) (err error) {
	f, err := os.CreateTemp(dir, "warm")
	if err != nil {
		return fmt.Errorf("warming the page cache: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 1<<20)
	for range warmBytes / len(block) {
		if _, err := f.Write(block); err != nil {
			return fmt.Errorf("warming the page cache: %w", err)
		}
	}
	return nil
}

// usageSince reads the usage again. A process that came or went in between
// would make the difference meaningless.
func (t *started) usageSince(before *usage) (usage, error) {
	if err := t.alive(); err != nil {
		return usage{}, err
	}
	after, err := usageOf(t.pid())
	if err != nil {
		return usage{}, err
	}
	if !slices.Equal(before.pids, after.pids) {
		return usage{}, fmt.Errorf("the processes of %s changed while measuring, from %v to %v; its output ends with:\n%s",
			t.name, before.pids, after.pids, tail(t.output))
	}
	return after, nil
}

// rest measures what idle connections hold.
func (r *run) rest(ctx context.Context, sc *scenario, t *started) (_ Figures, err error) {
	port := t.settings.HTTP
	c := newCrowd(port, sc.resting(r.o), sc.path, nil)
	if sc.stream != "" {
		c = newStreamCrowd(t.settings.TCP, sc.resting(r.o))
	}
	if sc.tls {
		// One request, so that what TLS loads once is not put to the
		// connections' account.
		url := fmt.Sprintf("https://localhost:%d%s", t.settings.HTTPS, sc.path)
		if _, err := checkAnswer(ctx, url, small, r.pair.tlsConfig()); err != nil {
			return Figures{}, err
		}
		c = newCrowd(t.settings.HTTPS, sc.resting(r.o), sc.path, r.pair.tlsConfig())
	}
	before, err := usageOf(t.pid())
	if err != nil {
		return Figures{}, err
	}
	defer c.close()
	if err := c.open(ctx); err != nil {
		return Figures{}, err
	}
	if err := pause(ctx, r.o.IdleWait); err != nil {
		return Figures{}, err
	}
	after, err := t.usageSince(&before)
	if err != nil {
		return Figures{}, err
	}
	lost, err := c.lost(ctx)
	if err != nil {
		return Figures{}, err
	}
	f := Figures{
		BytesPerConnection: float64(after.resident-before.resident) / float64(len(c.conns)),
		ResidentBytes:      float64(after.resident),
		Errors:             float64(lost),
	}
	f.Cost = f.BytesPerConnection
	if sc.unit == residentAtAll {
		f.Cost = f.ResidentBytes / 1e6
	}
	return f, nil
}
