package filelog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
)

const (
	// fileMode is that of a new file, as Kong's.
	fileMode = 0o644

	// closeTime bounds the last writes to a file that no instance uses any more.
	closeTime = 5 * time.Second
)

// files are the open files of a process, by path. Safe for concurrent use.
type files struct {
	count telemetry.LineCounters // of all files, also of those that are closed
	log   *slog.Logger

	mu   sync.Mutex
	open map[string]*file
}

// file is shared by the instances with its path.
type file struct {
	*telemetry.LineLog
	users int // guarded by the files' mu
}

// filesOf returns the files of a process.
func filesOf(env plugins.Env) *files {
	return env.State.Value("file-log files", func() any {
		f := &files{log: env.Log, open: make(map[string]*file)}
		env.Metrics.Register(newCollector(&f.count)) // as long as the process runs, so that no counter falls
		return f
	}).(*files)
}

// use opens the file of a path, or shares it.
func (f *files) use(path string) (*file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared := f.open[path]; shared != nil {
		shared.users++
		return shared, nil
	}
	l, err := telemetry.OpenLines(telemetry.LineTarget{
		Path: path, What: "file log", Mode: fileMode,
		Hint: "config.path of file-log is a path that the process may write",
	}, &f.count, f.log)
	if err != nil {
		return nil, err
	}
	opened := &file{LineLog: l, users: 1}
	f.open[path] = opened
	return opened, nil
}

// leave ends one use, and the last one closes the file.
func (f *files) leave(path string) error {
	f.mu.Lock()
	shared := f.open[path]
	if shared.users--; shared.users > 0 {
		f.mu.Unlock()
		return nil
	}
	delete(f.open, path)
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return shared.Close(ctx)
}

// collector tells what is counted of all files.
type collector struct {
	count                    *telemetry.LineCounters
	lines, dropped, failures *prometheus.Desc
}

func newCollector(count *telemetry.LineCounters) *collector {
	return &collector{
		count:    count,
		lines:    prometheus.NewDesc("bulwark_file_log_lines_total", "Lines of file-log taken into a buffer.", nil, nil),
		dropped:  prometheus.NewDesc("bulwark_file_log_dropped_lines_total", "Lines of file-log lost.", nil, nil),
		failures: prometheus.NewDesc("bulwark_file_log_write_errors_total", "Writes of file-log that went wrong.", nil, nil),
	}
}

// Describe sends every description.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.lines
	ch <- c.dropped
	ch <- c.failures
}

// Collect sends the present values.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.lines, prometheus.CounterValue, float64(c.count.Lines.Load()))
	ch <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(c.count.Dropped.Load()))
	ch <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(c.count.Errors.Load()))
}
