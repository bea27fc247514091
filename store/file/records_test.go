package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/store"
	"github.com/bulwark-edge/bulwark/store/storetest"
)

func openRecords(t *testing.T, dir string) *Records {
	t.Helper()
	r, err := OpenRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecords(t *testing.T) {
	storetest.Records(t, func(t *testing.T) func(t *testing.T) store.Records {
		dir := filepath.Join(t.TempDir(), "new", "records")
		return func(t *testing.T) store.Records { return openRecords(t, dir) }
	})
}

// TestRecordsModes shows that nobody else can read what is kept.
func TestRecordsModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	r := openRecords(t, dir)
	if _, err := r.Put(t.Context(), store.Record{Key: "a/b", Value: []byte("key")}, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lease(t.Context(), "a", time.Minute); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRecords(dir); err == nil || !strings.Contains(err.Error(), "make it 0700") {
		t.Errorf("a directory that others read was opened: %v", err)
	}
}

// TestRecordsDamaged shows what becomes of files that are not as we write them.
func TestRecordsDamaged(t *testing.T) {
	good := appendRecord(nil, store.Record{Key: "k", Value: []byte("value"), Version: 7})
	for name, body := range map[string][]byte{
		"empty":             {},
		"cut in the header": good[:10],
		"cut in the value":  good[:len(good)-1],
		"more than it says": append(bytes.Clone(good), 'x'),
		"a changed byte":    append(bytes.Clone(good[:len(good)-1]), 'X'),
		"another key":       appendRecord(nil, store.Record{Key: "other", Version: 7}),
		"no version":        appendRecord(nil, store.Record{Key: "k"}),
		"an unknown field":  bytes.Replace(good, []byte(`{"key"`), []byte(`{"more":1,"key"`), 1),
		"binary":            {0, 1, 2, '\n', 255},
	} {
		t.Run(name, func(t *testing.T) {
			r := openRecords(t, filepath.Join(t.TempDir(), "r"))
			path := r.file(recordFolder, "k")
			if err := os.WriteFile(path, body, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Get(t.Context(), "k"); !errors.Is(err, store.ErrDamaged) {
				t.Errorf("got the error %v, want %v", err, store.ErrDamaged)
			}
			if name != "another key" {
				for _, err := range r.List(t.Context(), "") {
					if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
						t.Errorf("listing told the error %v", err)
					}
				}
			}
			if _, err := r.Put(t.Context(), store.Record{Key: "k", Value: []byte("new")}, 0); err != nil {
				t.Errorf("it cannot be replaced: %v", err)
			}
		})
	}
}

// TestRecordsLast shows that numbers are not given twice when the file of the
// last one is damaged.
func TestRecordsLast(t *testing.T) {
	r := openRecords(t, filepath.Join(t.TempDir(), "r"))
	if err := os.WriteFile(r.path(lastFile), []byte("no number"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), store.Record{Key: "k"}, 0); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("got the error %v, want %v", err, store.ErrDamaged)
	}
}

// TestRecordsSweep shows that what has expired and what dead processes left goes.
func TestRecordsSweep(t *testing.T) {
	r := openRecords(t, filepath.Join(t.TempDir(), "r"))
	r.swept = time.Now()
	put := func(key string, expires time.Time) {
		t.Helper()
		if _, err := r.Put(t.Context(), store.Record{Key: key, Expires: expires}, 0); err != nil {
			t.Fatal(err)
		}
	}
	put("gone", time.Now().Add(-time.Second))
	put("kept", time.Time{})
	left := r.path(recordFolder, tempPrefix+"1")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.swept = time.Time{}
	put("another", time.Time{})
	entries, err := os.ReadDir(r.path(recordFolder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"another.rec", "kept.rec"}, names); diff != "" {
		t.Errorf("the files differ (-want +got):\n%s", diff)
	}
}

// TestRecordsSweepFirst shows that what has expired goes when records are opened.
func TestRecordsSweepFirst(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	r := openRecords(t, dir)
	if _, err := r.Put(t.Context(), store.Record{Key: "gone", Expires: time.Now().Add(-time.Second)}, 0); err != nil {
		t.Fatal(err)
	}
	openRecords(t, dir)
	if _, err := os.Stat(r.file(recordFolder, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file is there: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(appendRecord(nil, store.Record{Key: "k", Value: []byte("value"), Version: 7, Expires: time.Unix(1, 2)}))
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		rec, err := parseRecord(body)
		if err != nil {
			return
		}
		again, err := parseRecord(appendRecord(nil, rec))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rec, again); diff != "" {
			t.Errorf("it reads otherwise when written again (-first +second):\n%s", diff)
		}
	})
}

// Environment of a process that TestRecordsKill starts.
const (
	killDir  = "BULWARK_TEST_RECORDS"
	killSeed = "BULWARK_TEST_SEED"
)

// TestRecordsChild is what TestRecordsKill runs in other processes: it writes
// pairs of records that belong together, until it is killed.
func TestRecordsChild(t *testing.T) {
	dir := os.Getenv(killDir)
	if dir == "" {
		return // started as any other test it has nothing to show
	}
	r := openRecords(t, dir)
	ctx := context.Background()
	for i := 0; ; i++ {
		if err := childStep(ctx, r, os.Getenv(killSeed)+strconv.Itoa(i)); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		fmt.Println(i)
	}
}

// childStep counts a shared record up and puts a large one, whose halves are
// equal, under a lease.
func childStep(ctx context.Context, r store.Records, text string) error {
	rec, err := r.Get(ctx, "count")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	n, _ := strconv.Atoi(string(rec.Value))
	_, err = r.Put(ctx, store.Record{Key: "count", Value: strconv.AppendInt(nil, int64(n)+1, 10)}, rec.Version)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	l, err := r.Lease(ctx, "pair", time.Minute)
	if errors.Is(err, store.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	half := bytes.Repeat([]byte(text+"|"), 10000)
	rec, err = r.Get(ctx, "pair")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, err := r.Put(ctx, store.Record{Key: "pair", Value: append(half, half...), Fence: l.Fence()}, rec.Version); err != nil {
		return err
	}
	return l.Release(ctx)
}

// TestRecordsKill kills processes in the middle of their writes. What is left is
// whole, and nobody is locked out.
func TestRecordsKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	r := openRecords(t, dir)
	var last store.Version
	for round := range 6 {
		var children []*exec.Cmd
		for c := range 2 {
			cmd := exec.Command(os.Args[0], "-test.run=^TestRecordsChild$")
			cmd.Env = append(os.Environ(), killDir+"="+dir, killSeed+"="+strconv.Itoa(10*round+c)+"/")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, cmd)
			steps := make([]byte, 1)
			for range 3 + round + c { // it is at work
				if _, err := out.Read(steps); err != nil {
					t.Fatalf("the process ended by itself: %v", err)
				}
			}
		}
		for _, cmd := range children {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		}
		last = inspect(t, r, last)
	}
}

// inspect checks what killed processes have left, and returns a version that is
// greater than last.
func inspect(t *testing.T, r *Records, last store.Version) store.Version {
	t.Helper()
	for rec, err := range r.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if n := len(rec.Value); rec.Key == "pair" && (n == 0 || !bytes.Equal(rec.Value[:n/2], rec.Value[n/2:])) {
			t.Fatal("a record holds parts of two")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	rec, err := r.Get(ctx, "parent")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	v, err := r.Put(ctx, store.Record{Key: "parent"}, rec.Version)
	if err != nil || v <= last {
		t.Fatalf("the version %d came after %d, %v", v, last, err)
	}
	// A lease that a dead process held is not taken before its time, but what it
	// wrote under one that is taken over is refused.
	if l, err := r.Lease(ctx, "pair", time.Minute); err == nil {
		err = l.Release(ctx)
		if err != nil {
			t.Fatal(err)
		}
	} else if errors.Is(err, store.ErrHeld) {
		if err := os.Remove(r.file(leaseFolder, "pair")); err != nil { // its time passes
			t.Fatal(err)
		}
	} else {
		t.Fatal(err)
	}
	return v
}
