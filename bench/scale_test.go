package bench

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
	"github.com/bulwark-edge/bulwark/store/file"
)

func loadFile(path string) (*config.Config, error) {
	store, err := file.New(path, catalog.All(), slog.Default())
	if err != nil {
		return nil, err
	}
	return store.Load()
}

// serveFile is an edge that serves a file and follows its changes until it is
// told to end: the stand-in for Bulwark where a plain proxy will not do.
func serveFile(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := file.New(path, catalog.All(), slog.Default())
	if err != nil {
		return err
	}
	e, err := edge.New(edge.Options{Kinds: catalog.All(), Version: "test", Log: slog.Default()})
	if err != nil {
		return err
	}
	if err := e.Reload(ctx, store.Load); err != nil {
		return err
	}
	if err := store.Watch(ctx, func() {
		if err := e.Reload(ctx, store.Load); err != nil {
			slog.Error(err.Error())
		}
	}); err != nil {
		return err
	}
	return e.Shutdown(ctx)
}

// TestIntegrationScale runs the whole scenario with few routes. Bars are for
// quiet machines and 15,000 routes: here only that everything is measured.
func TestIntegrationScale(t *testing.T) {
	clean := ownTemp(t)
	var out, progress bytes.Buffer
	err := Scale(t.Context(), ScaleOptions{
		Bulwark: os.Args[0], Routes: 300, Rounds: 1, Duration: time.Second, IdleWait: 50 * time.Millisecond, Progress: &progress,
	}, &out)
	if err != nil && !strings.HasPrefix(err.Error(), "bars missed: ") {
		t.Fatal(err)
	}
	clean()
	for _, want := range []string{
		"routes-15k: 300 routes", "check, ms", "change by Apply, to the first answer, ms", "change by the file, to the first answer, ms",
		"look-up, 1 route, us", "look-up, all routes", "start, to the first answer, ms", "resident, fresh and idle, MB",
		"resident, after changes by the file, MB", "CPU per request, 1 route, us", "CPU per request, all routes, one asked for, us",
		"CPU per request, all routes, one of each service asked for, us",
	} {
		if lines(out.String(), want) != 1 {
			t.Errorf("the result lacks %q:\n%s", want, out.String())
		}
	}
	if n := lines(progress.String(), ""); n != 5 {
		t.Errorf("%d lines of progress, want 5:\n%s", n, progress.String())
	}
}

func TestScaleBars(t *testing.T) {
	s := &scaleRun{o: &ScaleOptions{Routes: 7}, figures: []figure{
		{name: "good", unit: "ms", values: []float64{9, 1, 2}, bar: 2},
		{name: "bad", unit: "us", values: []float64{3}, bar: 2.5},
		{name: "stated", unit: "MB", values: []float64{1e6}},
	}}
	var out bytes.Buffer
	err := s.print(&out)
	if err == nil || err.Error() != "bars missed: bad" {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"met", "MISSED"} {
		if lines(out.String(), want) != 1 {
			t.Errorf("the table has %q not once:\n%s", want, out.String())
		}
	}
}
