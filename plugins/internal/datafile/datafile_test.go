package datafile_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/datafile"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// lookEvery is how often a file is looked at.
const lookEvery = time.Second

// word is a format of one word.
var word = datafile.Format[string]{Name: "word", Parse: func(b []byte) (string, error) {
	if string(b) == "panic" {
		panic("a broken reader")
	}
	if strings.ContainsRune(string(b), ' ') {
		return "", errors.New("it is not one word")
	}
	return string(b), nil
}}

func write(t *testing.T, path, content string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, env plugins.Env, path string) *datafile.File[string] {
	t.Helper()
	f, err := datafile.Open(env, word, path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newEnv() plugins.Env {
	return plugins.Env{State: new(plugins.State), Log: slog.New(slog.DiscardHandler)}
}

func TestReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "word")
	synctest.Test(t, func(t *testing.T) {
		env := newEnv()
		write(t, path, "one")
		a, b := open(t, env, path), open(t, env, path)
		if a.Data() != "one" || b.Data() != "one" {
			t.Fatalf("data %q and %q", a.Data(), b.Data())
		}
		a.Close()
		for _, step := range []struct{ content, want string }{
			{"two", "two"},
			{"not a word", "two"},
			{"three", "three"},
		} {
			write(t, path, step.content)
			time.Sleep(3 * lookEvery)
			if got := b.Data(); got != step.want {
				t.Errorf("%q in memory after %q was written, want %q", got, step.content, step.want)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * lookEvery)
		if got := b.Data(); got != "three" {
			t.Errorf("%q in memory after the file was removed", got)
		}
		b.Close()
		if _, err := datafile.Open(env, word, path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v for a file that is not there", err)
		}
	})
}

func TestOpenErrors(t *testing.T) {
	env, dir := newEnv(), t.TempDir()
	write(t, filepath.Join(dir, "broken"), "two words")
	for path, want := range map[string]string{"": "is no file", "broken": "it is not one word", "none": "no such file"} {
		if _, err := datafile.Open(env, word, filepath.Join(dir, path)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", path, err, want)
		}
	}
}
