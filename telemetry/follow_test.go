package telemetry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFollow moves a file of lines away: who follows finds the path anew, and
// who does not writes on to the old file.
func TestFollow(t *testing.T) {
	for _, follow := range []bool{true, false} {
		t.Run(map[bool]string{true: "followed", false: "kept"}[follow], func(t *testing.T) {
			dir := t.TempDir()
			path, moved := filepath.Join(dir, "lines"), filepath.Join(dir, "moved")
			l, err := OpenLines(LineTarget{Path: path, What: "file", Mode: 0o644}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if follow {
				l.Follow(true)
			}
			l.Write([]byte("one"))
			until(t, "the first line is written", func() bool { return readFile(t, path) == "one\n" })
			if err := os.Rename(path, moved); err != nil {
				t.Fatal(err)
			}
			l.Write([]byte("two"))
			closeLines(t, l)
			got, _ := os.ReadFile(path) // may not exist
			want, old := "", "one\ntwo\n"
			if follow {
				want, old = "two\n", "one\n"
			}
			if string(got) != want || readFile(t, moved) != old {
				t.Errorf("the path has %q and the moved file %q, want %q and %q", got, readFile(t, moved), want, old)
			}
		})
	}
}

// TestFollowFails lets the path become one that cannot be opened: lines go to the
// old file until it can be.
func TestFollowFails(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	path, moved := filepath.Join(inner, "lines"), filepath.Join(dir, "moved")
	var c LineCounters
	l, err := OpenLines(LineTarget{Path: path, What: "file", Mode: 0o644}, &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Follow(true)
	if err := os.Rename(inner, moved); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one", "two"} {
		l.Write([]byte(line))
		until(t, "the old file has "+line, func() bool { return strings.HasSuffix(readFile(t, filepath.Join(moved, "lines")), line+"\n") })
	}
	if c.Errors.Load() == 0 || c.Dropped.Load() != 0 {
		t.Errorf("%d errors and %d lines lost, want some and none", c.Errors.Load(), c.Dropped.Load())
	}
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("three"))
	closeLines(t, l)
	if got := readFile(t, path); got != "three\n" {
		t.Errorf("the path has %q", got)
	}
}

// TestLineTargetErrors: an error speaks of the file as its owner does.
func TestLineTargetErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "lines")
	_, err := OpenLines(LineTarget{Path: path, What: "file of someone", Hint: "do so"}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), `opening file of someone "`+path+`"`) || !strings.HasSuffix(err.Error(), "(do so)") {
		t.Errorf("error %v", err)
	}
}
