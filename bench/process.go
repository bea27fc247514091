package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopGrace is how long a process may take to end once it is told to.
	stopGrace = 5 * time.Second
	// logTail is how much of a process's output is quoted when it fails.
	logTail = 2000
)

// launcher starts pinned processes from one thread of its own. A child
// inherits that thread's CPU affinity, and is sent SIGTERM should the thread
// end before it: so nothing is left behind even if this process is killed.
type launcher struct{ orders chan order }

type order struct {
	cmd     *exec.Cmd
	cpu     int
	started chan error
}

func newLauncher() *launcher { return &launcher{orders: make(chan order)} }

// run serves start until ctx ends. The thread is never unlocked, so it ends
// with this function.
func (l *launcher) run(ctx context.Context) {
	runtime.LockOSThread()
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-l.orders:
			var set unix.CPUSet
			set.Set(o.cpu)
			err := unix.SchedSetaffinity(0, &set)
			if err != nil {
				err = fmt.Errorf("pinning to CPU %d: %w", o.cpu, err)
			} else {
				err = o.cmd.Start()
			}
			o.started <- err
		}
	}
}

// process is a running child, the leader of its own process group.
type process struct {
	name   string
	cmd    *exec.Cmd
	output string // The file that holds its stdout and stderr.
	exited chan struct{}
	err    error // What it ended with; valid once exited is closed.
}

// start runs argv pinned to cpu, with its output in the file output.
func (l *launcher) start(name string, cpu int, output string, argv []string) (*process, error) {
	f, err := os.Create(output)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec // Chosen by the operator.
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	o := order{cmd: cmd, cpu: cpu, started: make(chan error, 1)}
	l.orders <- o
	if err := <-o.started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, output: output, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process and its group and waits for it.
func (p *process) stop() {
	p.signal(unix.SIGTERM)
	t := time.NewTimer(stopGrace)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
	}
	// Also for children that outlived the leader.
	p.signal(unix.SIGKILL)
	<-p.exited
}

// signal reaches the whole group; that it has none left is no error.
func (p *process) signal(s unix.Signal) { _ = unix.Kill(-p.pid(), s) }

// wait returns when the process has ended by itself, or ends it with ctx.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.exited:
		if p.err != nil {
			return p.ended()
		}
		return nil
	case <-ctx.Done():
		p.stop()
		return ctx.Err()
	}
}

// alive returns an error once the process has ended.
func (p *process) alive() error {
	select {
	case <-p.exited:
		return p.ended()
	default:
		return nil
	}
}

// ended describes the end of a process that should have gone on.
func (p *process) ended() error {
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w; its output ends with:\n%s", p.name, err, tail(p.output))
}

// tail returns the end of a file, for error texts.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-logTail):])
}
