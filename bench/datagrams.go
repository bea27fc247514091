package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bulwark-edge/bulwark/bench/udp"
)

// udpTemplates are the configurations of the contestants for datagrams, which
// HAProxy does not have.
var udpTemplates = map[string]string{subject: "bulwark-udp.yaml", "nginx": "nginx-udp.conf"}

// udpTimeout is when a datagram counts as lost.
const udpTimeout = time.Second

// beginUDP starts a contestant for datagrams and waits until it passes them on,
// to what the first call starts for all.
func (r *run) beginUDP(ctx context.Context, p *program) (*started, error) {
	if r.udpOrigin == nil {
		if err := r.startUDPOrigin(ctx); err != nil {
			return nil, fmt.Errorf("starting the origin of datagrams: %w", err)
		}
	}
	if err := r.udpOrigin.alive(); err != nil {
		return nil, err
	}
	s := r.settings
	var err error
	if s.UDP, err = freeUDPPort(); err != nil {
		return nil, err
	}
	proxy := *p
	proxy.template = udpTemplates[p.name]
	t, err := r.launch(&proxy, s)
	if err != nil {
		return nil, err
	}
	if err := awaitEcho(ctx, t.process, fmt.Sprintf("127.0.0.1:%d", s.UDP)); err != nil {
		return nil, errors.Join(err, t.end())
	}
	return t, nil
}

func (r *run) startUDPOrigin(ctx context.Context) (err error) {
	if r.o.Bulwark == "" {
		return errors.New("the path of the bulwark binary is missing, which sends and echoes datagrams; build it and pass its path")
	}
	if r.settings.UDPOrigin, err = freeUDPPort(); err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", r.settings.UDPOrigin)
	argv := []string{r.o.Bulwark, "bench", "udp-origin", "--address", address}
	r.udpOrigin, err = r.launcher.start("the origin of datagrams", r.o.LoadCPU, filepath.Join(r.dir, "udp-origin.log"), argv)
	if err != nil {
		return err
	}
	return awaitEcho(ctx, r.udpOrigin, address)
}

// freeUDPPort finds a port of 127.0.0.1 that is free for datagrams now.
func freeUDPPort() (int, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

// awaitEcho returns when a datagram comes back from address unchanged.
func awaitEcho(ctx context.Context, p *process, address string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("%s echoed nothing within %s", p.name, readyTimeout))
	defer cancel()
	c, err := net.Dial("udp", address)
	if err != nil {
		return fmt.Errorf("trying %s: %w", p.name, err)
	}
	defer c.Close()
	for n := 0; ; n++ {
		question, answer := "are you there? "+strconv.Itoa(n), make([]byte, 100)
		_, err := c.Write([]byte(question)) // Nobody may listen yet, which the next call tells.
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(10 * readyPause))
			n, err := c.Read(answer)
			if err == nil && string(answer[:n]) == question {
				return nil
			}
		}
		if err := p.alive(); err != nil {
			return err
		}
		if err := pause(ctx, readyPause); err != nil {
			return fmt.Errorf("%w; its output ends with:\n%s", err, tail(p.output))
		}
	}
}

// loadUDP measures a contestant under datagrams.
func (r *run) loadUDP(ctx context.Context, sc *scenario, t *started) (Figures, string, error) {
	address := fmt.Sprintf("127.0.0.1:%d", t.settings.UDP)
	args := func(d time.Duration) []string {
		return []string{
			"bench", "udp", "--json", "--flows", strconv.Itoa(sc.flows), "--size", strconv.Itoa(sc.size),
			"--duration", d.String(), "--timeout", udpTimeout.String(), address,
		}
	}
	command := shorten(append([]string{"bulwark"}, args(r.o.Duration)...), r.dir)
	if r.o.WarmUp > 0 {
		if _, err := r.runUDP(ctx, t.settings.Dir, args(r.o.WarmUp), r.o.WarmUp); err != nil {
			return Figures{}, command, fmt.Errorf("warming up: %w", err)
		}
	}
	before, err := usageOf(t.pid())
	if err != nil {
		return Figures{}, command, err
	}
	res, err := r.runUDP(ctx, t.settings.Dir, args(r.o.Duration), r.o.Duration)
	if err != nil {
		return Figures{}, command, err
	}
	after, err := t.usageSince(&before)
	if err != nil {
		return Figures{}, command, err
	}
	cpu := after.cpu - before.cpu
	f := Figures{
		CPUMicrosPerRequest: float64(cpu.Microseconds()) / float64(res.Answers),
		CPUPercent:          cpu.Seconds() / res.Seconds * 100,
		RequestsPerSecond:   res.AnswersPerSecond,
		P50Micros:           float64(res.Latency.P50),
		P99Micros:           float64(res.Latency.P99),
		ResidentBytes:       float64(after.resident),
		Errors:              float64(res.Lost + res.Foreign),
	}
	f.Cost = f.CPUMicrosPerRequest
	return f, command, nil
}

// runUDP sends datagrams from the load's core and waits for the result.
func (r *run) runUDP(ctx context.Context, dir string, args []string, d time.Duration) (*udp.Result, error) {
	output := filepath.Join(dir, "udp.log")
	p, err := r.launcher.start("bench udp", r.o.LoadCPU, output, append([]string{r.o.Bulwark}, args...))
	if err != nil {
		return nil, err
	}
	defer p.stop()
	most := d + udpTimeout + readyTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("bench udp did not end within %s", most))
	defer cancel()
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(output)
	if err != nil {
		return nil, fmt.Errorf("reading the result of bench udp: %w", err)
	}
	res := new(udp.Result)
	if err := json.Unmarshal(b, res); err != nil {
		return nil, fmt.Errorf("reading the result of bench udp: %w; it was:\n%s", err, tail(output))
	}
	return res, nil
}
