package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/bench/origin"
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
	"github.com/bulwark-edge/bulwark/telemetry"
)

type runOptions struct {
	config     string
	demo       string
	cpuProfile string
}

func runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve traffic",
		Long: `Serve traffic by a configuration file.

SIGHUP, or a change of the file, loads it anew; a file with errors changes
nothing. SIGUSR1 reopens the log files. SIGTERM and SIGINT drain open
exchanges within node.drain; a second one ends at once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&o.config, "config", "c", "/etc/bulwark/bulwark.yaml", "configuration file")
	cmd.Flags().StringVar(&o.demo, "demo", "", "also start the demo origin, on this address")
	cmd.Flags().StringVar(&o.cpuProfile, "cpu-profile", "", "write a CPU profile to this file when the edge ends")
	return cmd
}

// run serves until a signal ends it.
func run(ctx context.Context, o runOptions, stdout, stderr io.Writer) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	if o.cpuProfile != "" {
		stop, err := profileCPU(o.cpuProfile)
		if err != nil {
			return err
		}
		defer stop()
	}
	level := new(slog.LevelVar)
	log := telemetry.NewLogger(stderr, level)
	gc := newCollector()
	gc.loading()
	store, err := file.New(o.config, catalog.All(), log)
	if err != nil {
		return err
	}
	e, err := edge.New(edge.Options{Kinds: catalog.All(), Version: version, Log: log, Level: level})
	if err != nil {
		return err
	}
	if err := e.Reload(ctx, store.Load); err != nil {
		end(e, 0)
		fmt.Fprintln(stderr, err)
		return errSaid
	}
	gc.loaded()
	p := &process{edge: e, store: store, log: log, gc: gc, notifier: telemetry.NewNotifier(os.LookupEnv)}
	ctx, cancel := context.WithCancel(ctx)
	defer p.work.Wait()
	defer cancel()
	p.warnDescriptors()
	if o.demo != "" {
		if err := p.startDemo(ctx, o.demo, stdout); err != nil {
			end(e, 0)
			return err
		}
	}
	p.notify(p.notifier.Ready("serving"))
	changed := make(chan struct{}, 1)
	p.work.Go(func() {
		if err := store.Watch(ctx, func() { trySend(changed) }); err != nil {
			log.Error(err.Error())
		}
	})
	rest := time.NewTimer(gcAgain)
	defer rest.Stop()
	for {
		select {
		case <-rest.C:
			gc.loaded()
		case <-changed:
			p.reload(ctx, "file changed")
			rest.Reset(gcAgain)
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				p.reload(ctx, "SIGHUP")
				rest.Reset(gcAgain)
			case syscall.SIGUSR1:
				if err := e.ReopenLogs(); err != nil {
					log.Error(err.Error())
				}
			default:
				return p.shutdown(s, signals)
			}
		}
	}
}

// process is what a running edge has around it.
type process struct {
	edge     *edge.Edge
	store    *file.Store
	log      *slog.Logger
	gc       collector
	notifier *telemetry.Notifier
	work     sync.WaitGroup
}

func (p *process) reload(ctx context.Context, why string) {
	p.notify(p.notifier.Reloading())
	p.gc.loading()
	began := time.Now()
	err := p.edge.Reload(ctx, p.store.Load)
	var all *config.Errors
	switch {
	case errors.As(err, &all):
		p.log.Error("keeping the old configuration: the new one has errors", "why", why, "errors", strings.Split(all.Error(), "\n"))
	case err != nil:
		p.log.Error("keeping the old configuration", "why", why, "error", err.Error())
	default:
		p.log.Info("serving a new configuration", "why", why, "hash", p.edge.Current().Config.Hash, "took", time.Since(began).String())
	}
	p.notify(p.notifier.Ready("serving"))
	p.gc.loaded()
}

// shutdown drains; a second signal ends the process at once.
func (p *process) shutdown(s os.Signal, again <-chan os.Signal) error {
	drain := p.edge.Current().Config.Node.Drain.Std()
	p.log.Info("draining", "signal", s.String(), "drain", drain.String())
	p.notify(p.notifier.Stopping("draining"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		end(p.edge, drain)
	}()
	for {
		select {
		case <-done:
			return nil
		case s := <-again:
			if s == syscall.SIGTERM || s == syscall.SIGINT {
				return errors.New("ended by a second signal, with exchanges still open")
			}
		}
	}
}

// end shuts an edge down within drain.
func end(e *edge.Edge, drain time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	_ = e.Shutdown(ctx) // only the status listener can have had trouble
}

func (p *process) notify(err error) {
	if err != nil {
		p.log.Warn(err.Error())
	}
}

// descriptorsPerConnection is what a client's connection needs at the most: its
// own, one to the upstream, and the two ends of a pipe between them.
const descriptorsPerConnection = 4

// warnDescriptors tells when the process may not open as many descriptors as
// its connections can need.
func (p *process) warnDescriptors() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	most := p.edge.Current().Config.Node.Limits.Connections
	if need := uint64(most) * descriptorsPerConnection; limit.Cur < need {
		p.log.Warn("too few file descriptors for node.limits.connections: raise LimitNOFILE or ulimit -n, or lower the limit",
			"descriptors", limit.Cur, "needed", need, "connections", most)
	}
}

// startDemo starts the demo origin and prints what to try.
func (p *process) startDemo(ctx context.Context, address string, stdout io.Writer) error {
	ready := make(chan netip.AddrPort, 1)
	failed := make(chan error, 1)
	p.work.Go(func() {
		failed <- origin.Run(ctx, origin.Options{Address: address, Ready: func(at netip.AddrPort) { ready <- at }}, io.Discard)
	})
	select {
	case at := <-ready:
		demoOf(p.edge, at).print(stdout)
		return nil
	case err := <-failed:
		return err
	}
}

func trySend(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// profileCPU profiles the process into a file until stop is called.
func profileCPU(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("starting the CPU profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
