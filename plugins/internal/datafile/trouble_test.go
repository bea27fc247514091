package datafile_test

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/datafile"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// logText is a log that is read while it is written to.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines takes what was logged, and counts those lines that contain text.
func (l *logText) lines(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	l.text.Reset()
	return n
}

func pipe(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTrouble replaces a file by what cannot be read: the old data stay, the log
// is told once, and what is a file again is read.
func TestTrouble(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, path string){
		"a pipe without a writer": pipe,
		"a directory": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"what can be looked at but not opened": func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			l.Close()
		},
		"nothing":           func(*testing.T, string) {},
		"two words":         func(t *testing.T, path string) { write(t, path, "two words") },
		"what makes it err": func(t *testing.T, path string) { write(t, path, "panic") },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "word")
			synctest.Test(t, func(t *testing.T) {
				log := new(logText)
				env := plugins.Env{State: new(plugins.State), Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: new(telemetry.Metrics)}
				write(t, path, "one")
				f := open(t, env, path)
				defer f.Close()
				time.Sleep(lookEvery / 2) // between two looks from here on
				for range 2 {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
					replace(t, path)
					time.Sleep(10 * lookEvery)
					if n := log.lines("going on with the data in memory"); n != 1 || f.Data() != "one" {
						t.Errorf("%d complaints and the data %q", n, f.Data())
					}
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
					write(t, path, "two")
					time.Sleep(3 * lookEvery)
					if f.Data() != "two" {
						t.Errorf("the data %q after the file is one again", f.Data())
					}
					write(t, path, "one")
					time.Sleep(3 * lookEvery)
					log.lines("")
				}
				if n := env.Metrics.Panics.Load(); n != 0 && name != "what makes it err" || n != 2 && name == "what makes it err" {
					t.Errorf("%d panics counted", n)
				}
			})
		})
	}
}

// TestOpenPipe does not wait for who writes to a pipe.
func TestOpenPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	pipe(t, path)
	failed := make(chan error, 1)
	go func() {
		_, err := datafile.Open(newEnv(), word, path)
		failed <- err
	}()
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), "is no file") {
			t.Errorf("error %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("opening waits")
	}
}

// TestChangedWhileRead writes more into a file while its beginning is being read.
func TestChangedWhileRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "word")
	format := word
	format.Parse = func(b []byte) (string, error) {
		if string(b) == "ha" {
			if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
				return "", err
			}
		}
		return word.Parse(b)
	}
	synctest.Test(t, func(t *testing.T) {
		write(t, path, "one")
		f, err := datafile.Open(newEnv(), format, path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		time.Sleep(lookEvery / 4) // between two looks from here on
		write(t, path, "ha")
		seen := make(map[string]bool)
		for range 20 {
			time.Sleep(lookEvery / 2)
			seen[f.Data()] = true
		}
		if seen["ha"] || f.Data() != "half" {
			t.Errorf("data %v", seen)
		}
	})
}
