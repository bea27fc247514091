package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bulwark-edge/bulwark/bench/tcp"
)

// tcpTemplates are the configurations of the contestants for TCP.
var tcpTemplates = map[string]string{subject: "bulwark-tcp.yaml", "nginx": "nginx-tcp.conf", "haproxy": "haproxy-tcp.cfg"}

// startStreamOrigin starts what stands behind all contestants for TCP.
func (r *run) startStreamOrigin(ctx context.Context) error {
	if r.o.Bulwark == "" {
		return errors.New("TCP is loaded by the bulwark binary, whose path is missing; build it and pass its path")
	}
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	s := &r.settings
	s.Echo, s.Source = ports[0], ports[1]
	argv := []string{
		r.o.Bulwark, "bench", "tcp-origin",
		"--echo", fmt.Sprintf("127.0.0.1:%d", s.Echo), "--source", fmt.Sprintf("127.0.0.1:%d", s.Source),
	}
	output := filepath.Join(r.dir, "tcp-origin.log")
	if r.streamOrigin, err = r.launcher.start("the origin for TCP", r.o.LoadCPU, output, argv); err != nil {
		return err
	}
	return awaitPorts(ctx, r.streamOrigin, s.Echo, s.Source)
}

// beginStream starts a contestant for TCP and waits until it relays.
func (r *run) beginStream(ctx context.Context, p *program) (*started, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	for _, o := range []*process{r.origin, r.streamOrigin} {
		if err := o.alive(); err != nil {
			return nil, err
		}
	}
	settings := r.settings
	settings.TCP, settings.Bulk = ports[0], ports[1]
	settings.Descriptors = 2 * settings.Connections
	relay := *p
	relay.template = tcpTemplates[p.name]
	t, err := r.launch(&relay, settings)
	if err != nil {
		return nil, err
	}
	err = awaitPorts(ctx, t.process, ports...)
	if err == nil {
		err = newStreamCrowd(t.settings.TCP, 1).open(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, t.end())
	}
	return t, nil
}

// newStreamCrowd is a crowd on relayed connections to the echo.
func newStreamCrowd(port, n int) *crowd {
	c := newCrowd(port, n, "", nil)
	c.request, c.echo = string(bytes.Repeat([]byte("bulwark "), streamSize/8)), true
	return c
}

// streamSize is the length of a message, in bytes.
const streamSize = 64

// loadStream measures a contestant under bench tcp.
func (r *run) loadStream(ctx context.Context, sc *scenario, t *started) (Figures, string, error) {
	port := t.settings.TCP
	if sc.stream == tcp.Bulk {
		port = t.settings.Bulk
	}
	argv := []string{
		r.o.Bulwark, "bench", "tcp", fmt.Sprintf("127.0.0.1:%d", port), "--mode", sc.stream,
		"--connections", fmt.Sprint(sc.conns), "--size", fmt.Sprint(streamSize), "--json", "--duration",
	}
	command := shorten(append(argv, r.o.Duration.String()), r.dir)
	if r.o.WarmUp > 0 {
		if _, err := r.runStream(ctx, t.settings.Dir, argv, r.o.WarmUp); err != nil {
			return Figures{}, command, fmt.Errorf("warming up: %w", err)
		}
	}
	before, err := usageOf(t.pid())
	if err != nil {
		return Figures{}, command, err
	}
	rep, err := r.runStream(ctx, t.settings.Dir, argv, r.o.Duration)
	if err != nil {
		return Figures{}, command, err
	}
	after, err := t.usageSince(&before)
	if err != nil {
		return Figures{}, command, err
	}
	cpu := after.cpu - before.cpu
	f := Figures{
		CPUMillisPerGB:     cpu.Seconds() * 1e3 / (float64(rep.Bytes) / 1e9),
		CPUPercent:         cpu.Seconds() / rep.Seconds * 100,
		MegabytesPerSecond: float64(rep.Bytes) / 1e6 / rep.Seconds,
		ResidentBytes:      float64(after.resident),
		Errors:             float64(rep.Failures()),
	}
	f.Cost = f.CPUMillisPerGB
	if sc.stream != tcp.Bulk {
		f.CPUMicrosPerRequest = float64(cpu.Microseconds()) / float64(rep.Trips)
		f.RequestsPerSecond = float64(rep.Trips) / rep.Seconds
		f.P50Micros, f.P99Micros = float64(rep.P50), float64(rep.P99)
		f.Cost = f.CPUMicrosPerRequest
	}
	return f, command, nil
}

// runStream runs bench tcp for d and waits for the result.
func (r *run) runStream(ctx context.Context, dir string, argv []string, d time.Duration) (tcp.Result, error) {
	output := filepath.Join(dir, "tcp.log")
	p, err := r.launcher.start("bench tcp", r.o.LoadCPU, output, append(argv, d.String()))
	if err != nil {
		return tcp.Result{}, err
	}
	defer p.stop()
	ctx, cancel := context.WithTimeoutCause(ctx, d+streamGrace, fmt.Errorf("bench tcp did not end within %s", d+streamGrace))
	defer cancel()
	if err := p.wait(ctx); err != nil {
		return tcp.Result{}, err
	}
	b, err := os.ReadFile(output)
	if err != nil {
		return tcp.Result{}, fmt.Errorf("reading the output of bench tcp: %w", err)
	}
	var rep tcp.Result
	if err := json.Unmarshal(b, &rep); err != nil {
		return tcp.Result{}, fmt.Errorf("reading the result of bench tcp: %w; its output was:\n%s", err, b)
	}
	if rep.Bytes == 0 || rep.Mode != tcp.Bulk && rep.Trips == 0 {
		return tcp.Result{}, fmt.Errorf("bench tcp got nothing back; its output was:\n%s", b)
	}
	return rep, nil
}

// streamGrace is how long bench tcp may take beyond its time.
const streamGrace = 10 * time.Second
