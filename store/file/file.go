package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
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
	abs   string
	kinds config.Kinds
	log   *slog.Logger

	mu    sync.Mutex
	files map[string]string // the files that a change is told of, by absolute path, and their marks when they were last read or told of
	wake  chan struct{}     // files has changed
}

// New returns the store of the file at path.
func New(path string, kinds config.Kinds, log *slog.Logger) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding %q: %w", path, err)
	}
	return &Store{
		path: path, abs: abs, kinds: kinds, log: log,
		files: map[string]string{abs: mark(abs)}, wake: make(chan struct{}, 1),
	}, nil
}

// Load reads the file. Every error in it is reported at once.
func (s *Store) Load() (*config.Config, error) {
	// Marks are taken before a file is read: what is written meanwhile makes
	// another one.
	read := map[string]string{s.abs: mark(s.abs)}
	cfg, err := s.load(func(name string) ([]byte, error) {
		if abs, err := filepath.Abs(name); err == nil {
			read[abs] = mark(abs)
		}
		return os.ReadFile(name)
	})
	if err == nil && cfg.Node.WAF.Rules != "" {
		readFolder(cfg.Node.WAF.Rules, read)
	}
	s.follow(read, err != nil)
	return cfg, err
}

// maxFolderFiles bounds the files of a folder that changes are told of.
const maxFolderFiles = 4096

// readFolder adds the marks of a folder's files and of the folders below it. What
// cannot be looked at is left to who reads it, which is later.
func readFolder(dir string, read map[string]string) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	root := abs
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		root = real
	}
	left := maxFolderFiles
	_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || left == 0 {
			return fs.SkipAll
		}
		left--
		if d.IsDir() {
			name += "/." // so that the folder counts as the place to watch
		}
		read[name] = mark(name)
		return nil
	})
	read[abs] = mark(abs)
}

func (s *Store) load(readFile func(string) ([]byte, error)) (*config.Config, error) {
	src, err := readFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the configuration: %w: create the file, or name another one", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return config.Load(src, s.kinds, config.Origin{Path: s.path, ReadFile: readFile})
}

// follow makes the files that were read those that a change is told of. After
// an error the earlier ones stay among them, and one that is missing may be the
// very one that must come.
func (s *Store) follow(read map[string]string, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !keep {
		clear(s.files)
	}
	maps.Copy(s.files, read)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Watch calls changed after the file, or one it refers to, was written,
// replaced or renamed since it was read, until ctx ends. It watches
// directories, so that a file that is swapped for another, or reached by a link
// that is, is noticed too.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching the configuration: %w: raise fs.inotify.max_user_instances, or reload by SIGHUP", err)
	}
	defer w.Close()
	s.watchAll(w)
	rest := time.NewTimer(0) // what changed before the watch began
	defer rest.Stop()
	var first time.Time // of the events not told yet
	wait := func() {
		if first.IsZero() {
			first = time.Now()
		}
		rest.Reset(min(debounce, max(0, maxDelay-time.Since(first))))
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			s.watchAll(w)
			wait()
		case err := <-w.Errors:
			s.log.Warn("watching the configuration", "error", err.Error())
			wait() // events may have been lost
		case _, ok := <-w.Events:
			if !ok {
				return nil
			}
			wait()
		case <-rest.C:
			first = time.Time{}
			if s.stale() {
				changed()
			}
		}
	}
}

// stale reports whether a file is another one than when it was last read or
// told of, and from then on counts it as told of.
func (s *Store) stale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale := false
	for name, known := range s.files {
		if now := mark(name); now != known {
			s.files[name], stale = now, true
		}
	}
	return stale
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
