package dns

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// watchInterval is how often it is looked whether a file has changed, if
	// names are looked up.
	watchInterval = 5 * time.Second
	// maxFileBytes bounds hosts and resolv.conf; a greater one is not used.
	maxFileBytes = 4 << 20
)

// watched is a file that is read again when it has changed. While it cannot be
// read, what was read last counts. Safe for concurrent use.
type watched[T any] struct {
	path  string // "": there is no file
	parse func(string) T
	log   *slog.Logger

	mu     sync.Mutex
	looked bool  // at least once
	next   int64 // sock.Now of the next look
	info   os.FileInfo
	value  T
	failed bool
}

func newWatched[T any](path string, log *slog.Logger, parse func(string) T) *watched[T] {
	return &watched[T]{path: path, parse: parse, log: log, value: parse("")}
}

// get returns what the file says.
func (w *watched[T]) get() T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := sock.Now()
	if w.path == "" || w.looked && now < w.next {
		return w.value
	}
	w.looked, w.next = true, now+int64(watchInterval)
	if err := w.read(); err != nil {
		if !w.failed {
			w.log.Warn("reading a file for name resolution", "path", w.path, "error", err.Error())
		}
		w.failed = true
		return w.value
	}
	w.failed = false
	return w.value
}

// read reads the file unless it is the same as before.
func (w *watched[T]) read() error {
	f, err := os.Open(w.path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if old := w.info; old != nil && os.SameFile(old, info) && old.ModTime().Equal(info.ModTime()) && old.Size() == info.Size() {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return err
	}
	if len(text) > maxFileBytes {
		return fmt.Errorf("the file has over %d bytes", maxFileBytes)
	}
	w.info, w.value = info, w.parse(string(text))
	return nil
}
