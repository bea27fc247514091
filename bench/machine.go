package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// describe fills in what is known before the first turn.
func (r *run) describe(ctx context.Context, origin *program) error {
	o := r.o
	wrk, err := firstLine(ctx, r.wrk, "-v")
	if err != nil {
		return err
	}
	machine, err := readMachine()
	if err != nil {
		return err
	}
	machine.Wrk, machine.Origin = wrk, origin.version
	machine.ProxyCPU, machine.LoadCPU = o.ProxyCPU, o.LoadCPU
	machine.SharedCore = sharedCore(o.ProxyCPU, o.LoadCPU)
	r.report = Report{
		Version: ReportVersion,
		Started: time.Now().UTC(),
		Command: os.Args,
		Machine: machine,
		Settings: Settings{
			Rounds: o.Rounds, Seconds: o.Duration.Seconds(), WarmUpSeconds: o.WarmUp.Seconds(),
			IdleConnections: o.IdleConnections, IdleSeconds: o.IdleWait.Seconds(),
		},
	}
	for _, p := range r.programs {
		r.report.Contestants = append(r.report.Contestants, Contestant{Name: p.name, Version: p.version})
	}
	return nil
}

func readMachine() (Machine, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return Machine{}, fmt.Errorf("reading the kernel's version: %w", err)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Machine{}, fmt.Errorf("reading the size of the memory: %w", err)
	}
	return Machine{
		CPU:    keyed("/proc/cpuinfo", "model name", ":"),
		CPUs:   runtime.NumCPU(),
		Memory: int64(info.Totalram) * int64(info.Unit),
		Kernel: unix.ByteSliceToString(uts.Release[:]),
		System: keyed("/etc/os-release", "PRETTY_NAME", "="),
		Go:     runtime.Version(),
	}, nil
}

// keyed returns the first value of a key in a file of lines, or "unknown":
// not every architecture and system names these things.
func keyed(path, key, separator string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range bytes.Lines(b) {
		k, v, ok := strings.Cut(string(line), separator)
		if ok && strings.TrimSpace(k) == key {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return "unknown"
}

// sharedCore reports whether two CPUs are threads of one core. Where the
// kernel does not say, they are taken for cores.
func sharedCore(a, b int) bool {
	list, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", a))
	return err == nil && inCPUList(strings.TrimSpace(string(list)), b)
}

// inCPUList reads the kernel's list form, such as 0-2,7.
func inCPUList(list string, cpu int) bool {
	for part := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(part, "-")
		if !ranged {
			high = low
		}
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		if err1 == nil && err2 == nil && a <= cpu && cpu <= b {
			return true
		}
	}
	return false
}

// shorten joins a command line, with DIR for the run's temporary folder.
func shorten(argv []string, dir string) string {
	return strings.ReplaceAll(strings.Join(argv, " "), dir, "DIR")
}
