package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// logged is an operator's log in memory.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// watched is a store that is watched until the test ends.
type watched struct {
	*Store
	t       *testing.T
	changed chan struct{}
}

func newStore(t *testing.T, path string) *Store {
	t.Helper()
	s, err := New(path, nil, slog.New(slog.NewTextHandler(new(logged), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func watch(t *testing.T, s *Store) *watched {
	t.Helper()
	w := &watched{Store: s, t: t, changed: make(chan struct{}, 100)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, func() { w.changed <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// told waits until a change is told.
func (w *watched) told() {
	w.t.Helper()
	select {
	case <-w.changed:
	case <-time.After(patience):
		w.t.Fatal("the change was not told")
	}
}

// quiet fails if a change is told within a time in which one would have been.
func (w *watched) quiet() {
	w.t.Helper()
	select {
	case <-w.changed:
		w.t.Fatal("a change was told although there is none")
	case <-time.After(4 * debounce):
	}
}

// service returns the text of a configuration with one service.
func service(name string) string {
	return fmt.Sprintf("_format_version: \"3.0\"\nservices: [{name: %s, host: h}]\n", name)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// loads loads the store and checks that it has the one service.
func loads(t *testing.T, s *Store, name string) {
	t.Helper()
	cfg, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := cfg.Services.Lookup(name); !ok {
		t.Fatalf("the configuration that was loaded has no service %q", name)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Run("missing", func(t *testing.T) {
		_, err := newStore(t, filepath.Join(dir, "none.yaml")).Load()
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "create the file") {
			t.Errorf("error %v does not say what to do", err)
		}
	})
	t.Run("a folder", func(t *testing.T) {
		if _, err := newStore(t, dir).Load(); err == nil {
			t.Error("a folder was loaded")
		}
	})
	t.Run("wrong", func(t *testing.T) {
		path := filepath.Join(dir, "wrong.yaml")
		write(t, path, "_format_version: \"3.0\"\nservices: [{name: a, prot: x}]\nroutes: 1\n")
		_, err := newStore(t, path).Load()
		list, ok := errors.AsType[*config.Errors](err)
		if !ok || len(list.List) < 2 || list.File != path {
			t.Errorf("error %v, want every error, with the file's name", err)
		}
	})
}

func TestWatchWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)
	w.quiet()

	write(t, path, service("second"))
	w.told()
	loads(t, s, "second")
	w.quiet()

	// An error in the file is told of as any change is, and so is its repair.
	write(t, path, "nonsense")
	w.told()
	if _, err := s.Load(); err == nil {
		t.Fatal("nonsense was loaded")
	}
	w.quiet()
	write(t, path, service("third"))
	w.told()
	loads(t, s, "third")
}

func TestWatchRelativePath(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "bulwark.yaml", service("one"))
	s := newStore(t, "bulwark.yaml")
	loads(t, s, "one")
	w := watch(t, s)
	write(t, "bulwark.yaml", service("other"))
	w.told()
}

// TestWatchReplace is how most editors and deployments write a file: another
// one is made and takes the name over.
func TestWatchReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)
	for _, name := range []string{"two", "six", "ten"} { // of one length
		write(t, path+".new", service(name))
		rename(t, path+".new", path)
		w.told()
		loads(t, s, name)
	}
}

// TestWatchSymlinkSwap is how Kubernetes writes a volume: the file is a link
// into a folder that is reached by a link, and that link is swapped.
func TestWatchSymlinkSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	volume := func(name, content string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "bulwark.yaml"), content)
	}
	volume("..1", service("one"))
	symlink(t, "..1", filepath.Join(dir, "..data"))
	path := filepath.Join(dir, "bulwark.yaml")
	symlink(t, filepath.Join("..data", "bulwark.yaml"), path)
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)

	for i, name := range []string{"two", "six"} {
		next := fmt.Sprintf("..%d", i+2)
		volume(next, service(name))
		symlink(t, next, filepath.Join(dir, "..tmp"))
		rename(t, filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
		w.told()
		loads(t, s, name)
	}
	// The file that the link leads to now is watched too.
	write(t, filepath.Join(dir, "..3", "bulwark.yaml"), service("seven"))
	w.told()
	loads(t, s, "seven")
}

func TestWatchVaultFile(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), t.TempDir()
	path, secret := filepath.Join(dir, "bulwark.yaml"), filepath.Join(elsewhere, "host")
	write(t, path, "_format_version: \"3.0\"\nservices: [{name: a, host: \"{vault://file/"+secret+"}\"}]\n")
	write(t, secret, "one.test\n")
	s := newStore(t, path)
	w := watch(t, s)
	loads(t, s, "a")
	w.quiet()

	write(t, secret, "two.test\n")
	w.told()
	cfg, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	if a, _ := cfg.Services.Lookup("a"); a.Host != "two.test" {
		t.Errorf("host %q", a.Host)
	}

	// A file that is not referred to any more does not count.
	write(t, path, service("plain"))
	w.told()
	loads(t, s, "plain")
	write(t, secret, "three.test\n")
	w.quiet()
}

// TestWatchMissingVaultFile shows that a file whose absence was the error is
// waited for.
func TestWatchMissingVaultFile(t *testing.T) {
	t.Parallel()
	path, secret := filepath.Join(t.TempDir(), "bulwark.yaml"), filepath.Join(t.TempDir(), "host")
	write(t, path, service("a"))
	s := newStore(t, path)
	loads(t, s, "a")
	w := watch(t, s)
	write(t, path, "_format_version: \"3.0\"\nservices: [{name: b, host: \"{vault://file/"+secret+"}\"}]\n")
	w.told()
	if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Fatalf("error %v", err)
	}
	w.quiet()
	write(t, secret, "one.test")
	w.told()
	loads(t, s, "b")
}

func TestWatchDeletion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.told()
	if _, err := s.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v", err)
	}
	write(t, path, service("back"))
	w.told()
	loads(t, s, "back")
}

// TestWatchBeforeItBegan shows that a change is not lost that came after the
// file was read and before it was watched.
func TestWatchBeforeItBegan(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	write(t, path, service("second"))
	watch(t, s).told()
}

// TestWatchWhileLoading shows that a change is not lost that comes while the
// file is being loaded: either that load has it, or it is told.
func TestWatchWhileLoading(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)
	for i := range 5 {
		name := strings.Repeat("x", i+1)
		loaded := make(chan *config.Config)
		go func() {
			cfg, _ := s.Load() // may find the file half written
			loaded <- cfg
		}()
		write(t, path, service(name))
		if cfg := <-loaded; cfg != nil {
			if _, ok := cfg.Services.Lookup(name); ok {
				continue
			}
		}
		w.told()
	}
}

// TestWatchDebounce shows that steps in quick succession count as one change.
func TestWatchDebounce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)
	w.quiet() // the watch is up
	for i := range 20 {
		write(t, path, service(strings.Repeat("y", i+1)))
	}
	w.told()
	loads(t, s, strings.Repeat("y", 20))
	w.quiet()
}

// TestWatchRestless shows that a file which never comes to rest is told of all
// the same.
func TestWatchRestless(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bulwark.yaml")
	write(t, path, service("one"))
	s := newStore(t, path)
	loads(t, s, "one")
	w := watch(t, s)
	end := time.After(patience)
	for i := 0; ; i++ {
		write(t, path, service(fmt.Sprintf("n%d", i)))
		select {
		case <-w.changed:
			return
		case <-end:
			t.Fatal("a file that keeps changing is never told of")
		case <-time.After(debounce / 4):
		}
	}
}

func TestMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if mark(path) != "missing" {
		t.Error("a missing file has a mark")
	}
	write(t, path, "one")
	first := mark(path)
	if mark(path) != first {
		t.Error("one file has two marks")
	}
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	if mark(path) == first {
		t.Error("another time, the same mark")
	}
	write(t, path+"2", "one")
	if err := os.Chtimes(path+"2", at, at); err != nil {
		t.Fatal(err)
	}
	before := mark(path)
	rename(t, path+"2", path)
	if mark(path) == before {
		t.Error("another file of the same size and time, the same mark")
	}
}
