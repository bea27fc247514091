package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/bulwark-edge/bulwark/config"
)

// debounce is how long the files must be at rest before a change is told, so
// that an editor that writes in steps, or several files changed at once, count
// as one change.
const debounce = 100 * time.Millisecond

// maxDelay bounds how long a file that keeps changing is waited for.
const maxDelay = 2 * time.Second

// Store is a declarative file. Safe for concurrent use.
type Store struct {
	path  string
	kinds config.Kinds
	log   *slog.Logger

	mu    sync.Mutex
	files map[string]bool // absolute paths that a change is told of
	wake  chan struct{}   // files has changed
}

// New returns the store of the file at path.
func New(path string, kinds config.Kinds, log *slog.Logger) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding %q: %w", path, err)
	}
	return &Store{path: path, kinds: kinds, log: log, files: map[string]bool{abs: true}, wake: make(chan struct{}, 1)}, nil
}

// Load reads the file. Every error in it is reported at once.
func (s *Store) Load() (*config.Config, error) {
	src, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the configuration: %w: create the file, or name another one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	cfg, err := config.Load(src, s.kinds, config.Origin{Path: s.path})
	if err != nil {
		return nil, err
	}
	s.follow(cfg.Files)
	return cfg, nil
}

// follow adds the files that the configuration refers to.
func (s *Store) follow(files []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	abs, _ := filepath.Abs(s.path) // New has shown that this succeeds
	s.files = map[string]bool{abs: true}
	for _, f := range files {
		s.files[f] = true
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Watch calls changed after the file, or one it refers to, was written,
// replaced or renamed, until ctx ends. It watches directories, so that a file
// that is swapped for another, or reached by a link that is, is noticed too.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the configuration: %w: raise fs.inotify.max_user_instances, or reload by SIGHUP", err)
	}
	defer w.Close()
	s.watchAll(w)
	marks := s.marks()
	rest := time.NewTimer(time.Hour)
	rest.Stop()
	defer rest.Stop()
	var first time.Time // of the events not told yet
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.watchAll(w)
			marks = s.marks()
		case err := <-w.Errors:
			s.log.Warn("watching the configuration", "error", err.Error())
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			if first.IsZero() {
				first = time.Now()
			}
			rest.Reset(min(debounce, max(0, maxDelay-time.Since(first))))
		case <-rest.C:
			first = time.Time{}
			if now := s.marks(); now != marks {
				marks = now
				changed()
			}
		}
	}
}

// watchAll watches the directory of every file, and that of what a link in its
// place leads to.
func (s *Store) watchAll(w *fsnotify.Watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.files {
		dirs := []string{filepath.Dir(f)}
		if real, err := filepath.EvalSymlinks(f); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
		for _, dir := range dirs {
			if err := w.Add(dir); err != nil {
				s.log.Warn("watching a directory", "directory", dir, "error", err.Error())
			}
		}
	}
}

// marks tells the files apart from what they were: which file each name leads
// to, its size and its time.
func (s *Store) marks() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.files))
	for f := range s.files {
		names = append(names, f)
	}
	return fingerprint(names)
}
