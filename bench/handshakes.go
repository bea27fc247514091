package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bulwark-edge/bulwark/bench/handshake"
)

// What connections do that carry one request each.
const (
	shakesFull    = "full"
	shakesResumed = "resumed" // each but a worker's first resumes the session before
	shakesMutual  = "mutual"  // full, and the client shows a certificate
	shakesQuantum = "quantum" // full with X25519MLKEM768, and of the bare one with X25519
)

// loadHandshakes measures a contestant under bench tls.
func (r *run) loadHandshakes(ctx context.Context, sc *scenario, e *entrant, t *started) (Figures, string, error) {
	argv := []string{
		r.o.Bulwark, "bench", "tls", fmt.Sprintf("https://localhost:%d%s", t.settings.HTTPS, e.path),
		"--connections", fmt.Sprint(sc.conns), "--ca", t.settings.CertFile, "--json",
	}
	switch sc.shakes {
	case shakesResumed:
		argv = append(argv, "--resume")
	case shakesQuantum:
		if e.name != bareName {
			argv = append(argv, "--curve", "X25519MLKEM768")
		}
	case shakesMutual:
		argv = append(argv, "--cert", t.settings.ClientFile, "--key", t.settings.ClientFile)
	}
	argv = append(argv, "--duration")
	command := shorten(append(argv, r.o.Duration.String()), r.dir)
	if r.o.WarmUp > 0 {
		if _, err := r.runHandshakes(ctx, t.settings.Dir, argv, r.o.WarmUp); err != nil {
			return Figures{}, command, fmt.Errorf("warming up: %w", err)
		}
	}
	before, err := usageOf(t.pid())
	if err != nil {
		return Figures{}, command, err
	}
	rep, err := r.runHandshakes(ctx, t.settings.Dir, argv, r.o.Duration)
	if err != nil {
		return Figures{}, command, err
	}
	after, err := t.usageSince(&before)
	if err != nil {
		return Figures{}, command, err
	}
	cpu := after.cpu - before.cpu
	each := float64(cpu.Microseconds()) / float64(rep.Handshakes)
	return Figures{
		Cost: each, CPUMicrosPerRequest: each,
		CPUPercent:        cpu.Seconds() / rep.Seconds * 100,
		RequestsPerSecond: float64(rep.Handshakes) / rep.Seconds,
		P50Micros:         float64(rep.P50), P99Micros: float64(rep.P99),
		ResidentBytes: float64(after.resident),
		Errors:        float64(rep.Failures()),
	}, command, nil
}

// runHandshakes runs bench tls for d and waits for the result.
func (r *run) runHandshakes(ctx context.Context, dir string, argv []string, d time.Duration) (rep handshake.Result, err error) {
	output := filepath.Join(dir, "tls.log")
	p, err := r.launcher.start("bench tls", r.o.LoadCPU, output, append(argv, d.String()))
	if err != nil {
		return rep, err
	}
	defer p.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, d+streamGrace, fmt.Errorf("bench tls did not end within %s", d+streamGrace))
	defer cancel()
	if err := p.wait(ctx); err != nil {
		return rep, err
	}
	b, err := os.ReadFile(output)
	if err != nil {
		return rep, fmt.Errorf("reading the output of bench tls: %w", err)
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		return rep, fmt.Errorf("reading the result of bench tls: %w; its output was:\n%s", err, b)
	}
	if rep.Handshakes == 0 {
		return rep, fmt.Errorf("no handshake of bench tls came to its answer; its output was:\n%s", b)
	}
	return rep, nil
}
