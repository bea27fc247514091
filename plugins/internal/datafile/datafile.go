// Package datafile is a file of data that plugins read and that may be replaced
// while they serve, such as a list of addresses. Instances of any snapshot that
// name the same file share one copy of it in memory.
package datafile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// maxBytes bounds a file.
const maxBytes = 512 << 20

// lookEvery is how often a file is looked at. One that has changed is read once
// it looks the same twice, so that it is not read while it is being written.
const lookEvery = time.Second

// Format is how files of one kind are read.
type Format[T any] struct {
	Name  string // "address list", for errors; files are shared within a name
	Parse func(content []byte) (T, error)
}

// File is an open file. The zero value has no data.
type File[T any] struct {
	shared *shared
	path   string
}

// errChanging says that a file was written to while it was read.
var errChanging = errors.New("it is being written")

// Open reads a file, or shares it with who has it open. The caller owns Close.
func Open[T any](env plugins.Env, f Format[T], path string) (*File[T], error) {
	files := env.State.Value("data files", func() any {
		r := &registry{open: make(map[key]*shared), log: env.Log, panics: new(telemetry.Counter)}
		if env.Metrics != nil {
			r.panics = &env.Metrics.Panics
		}
		return r
	}).(*registry)
	s, err := files.use(key{f.Name, path}, func(content []byte) (any, error) { return f.Parse(content) })
	if err != nil {
		return nil, err
	}
	return &File[T]{s, path}, nil
}

// Data returns what the file held when it was last read well. It is never
// written to.
func (f *File[T]) Data() T { return (*f.shared.data.Load()).(T) }

// Close leaves the file to its other users.
func (f *File[T]) Close() { f.shared.files.leave(f.shared) }

type key struct{ format, path string }

// registry holds the open files of a process. Safe for concurrent use.
type registry struct {
	log    *slog.Logger
	panics *telemetry.Counter

	mu   sync.Mutex
	open map[key]*shared
}

// shared is a file in memory, and the goroutine that looks at it.
type shared struct {
	files *registry
	key   key
	parse func([]byte) (any, error)
	data  atomic.Pointer[any]
	users int // guarded by files.mu
	stop  chan struct{}
	done  chan struct{}

	read identity // of what was read last, well or not; the goroutine's own, as is told
	told string   // the trouble that the log was told of; "" for none
}

// identity tells one content of a path from another, as far as that is known
// without reading.
type identity struct {
	size     int64
	modified time.Time
	file     os.FileInfo
}

func (a identity) same(b identity) bool {
	return a.size == b.size && a.modified.Equal(b.modified) && os.SameFile(a.file, b.file)
}

func (r *registry) use(k key, parse func([]byte) (any, error)) (*shared, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.open[k]; s != nil {
		s.users++
		return s, nil
	}
	s := &shared{files: r, key: k, parse: parse, users: 1, stop: make(chan struct{}), done: make(chan struct{})}
	if err := s.load(); err != nil {
		return nil, err
	}
	r.open[k] = s
	go s.watch()
	return s, nil
}

func (r *registry) leave(s *shared) {
	r.mu.Lock()
	s.users--
	last := s.users == 0
	if last {
		delete(r.open, s.key)
	}
	r.mu.Unlock()
	if last {
		close(s.stop)
		<-s.done
	}
}

// load reads the file. On error the old data stay, and so they do if the file
// changed meanwhile: half a list would let through what the whole one refuses.
func (s *shared) load() error {
	f, err := os.OpenFile(s.key.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // of a pipe, opening would wait for a writer
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.key.format, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.key.format, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("reading %s %q: it is no file", s.key.format, s.key.path)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.key.format, err)
	}
	s.read = identityOf(info)
	if len(content) > maxBytes {
		return fmt.Errorf("reading %s %q: it is longer than %d bytes", s.key.format, s.key.path, maxBytes)
	}
	data, err := s.parse(content)
	if err != nil {
		return fmt.Errorf("reading %s %q: %w", s.key.format, s.key.path, err)
	}
	if after, err := f.Stat(); s.data.Load() != nil && (err != nil || !identityOf(after).same(s.read)) {
		return fmt.Errorf("reading %s %q: %w", s.key.format, s.key.path, errChanging)
	}
	s.data.Store(&data)
	return nil
}

func identityOf(info os.FileInfo) identity {
	return identity{info.Size(), info.ModTime(), info}
}

// watch reads the file anew when it has changed, until nobody uses it.
func (s *shared) watch() {
	defer close(s.done)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var seen identity // the change that was found at the last look
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		info, err := os.Stat(s.key.path)
		if err != nil {
			s.complain(err)
			continue
		}
		now := identityOf(info)
		switch {
		case now.same(s.read):
			seen = identity{}
		case seen.file == nil || !now.same(seen):
			seen = now
		default:
			s.reload()
		}
	}
}

// reload reads the file anew. It is also the border at which a panic in parse
// stops.
func (s *shared) reload() {
	defer func() {
		if v := recover(); v != nil {
			s.files.panics.Inc()
			s.complain(fmt.Errorf("BUG: panic while reading %s: %v", s.key.format, v))
		}
	}()
	switch err := s.load(); {
	case err == nil:
		s.told = ""
		s.files.log.Info("data were read anew", "file", s.key.path, "format", s.key.format)
	case !errors.Is(err, errChanging): // of that the next look tells
		s.complain(err)
	}
}

// complain tells the log of a trouble, once for as long as it lasts.
func (s *shared) complain(err error) {
	text := err.Error()
	if text == s.told {
		return
	}
	s.told = text
	s.files.log.Error("going on with the data in memory", "file", s.key.path, "error", text)
}
