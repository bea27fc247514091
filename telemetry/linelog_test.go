package telemetry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// testWait bounds every wait of these tests; it is only reached on a failure.
const testWait = 20 * time.Second

func openLines(t *testing.T, target string, c *LineCounters) *LineLog {
	t.Helper()
	l, err := OpenLineLog(target, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLines(t, l) })
	return l
}

func closeLines(t *testing.T, l *LineLog) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(testWait)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v in vain: %s", testWait, what)
		}
	}
}

func TestLineLogWritesWholeLinesInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("from before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c LineCounters
	l := openLines(t, path, &c)
	for i := range 1000 {
		line := fmt.Sprintf("line %d", i)
		if i%2 == 0 {
			line += "\n"
		}
		if !l.Write([]byte(line)) {
			t.Fatalf("line %d was refused", i)
		}
	}
	if !l.Write(nil) {
		t.Error("an empty line was refused")
	}
	closeLines(t, l)

	var want strings.Builder
	want.WriteString("from before\n")
	for i := range 1000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if diff := cmp.Diff(want.String(), readFile(t, path)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if c.Lines.Load() != 1000 || c.Dropped.Load() != 0 || c.Errors.Load() != 0 {
		t.Errorf("counted %d lines, %d dropped, %d errors, want 1000, 0, 0", c.Lines.Load(), c.Dropped.Load(), c.Errors.Load())
	}
}

func TestLineLogDeliversWithoutClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := openLines(t, path, nil)
	for _, line := range []string{"one", "two"} {
		l.Write([]byte(line))
		until(t, "the line reaches the file by itself", func() bool {
			return strings.HasSuffix(readFile(t, path), line+"\n")
		})
	}
}

// TestLineLogManyWriters runs the ring round several times under concurrent
// writers; every line that was taken must arrive whole and in its writer's
// order.
func TestLineLogManyWriters(t *testing.T) {
	const writers, lines = 4, 20_000
	path := filepath.Join(t.TempDir(), "access.log")
	var c LineCounters
	l := openLines(t, path, &c)
	pad := strings.Repeat("x", 150)
	taken := make([][]bool, writers)
	var wg sync.WaitGroup
	for w := range writers {
		taken[w] = make([]bool, lines)
		wg.Go(func() {
			for i := range lines {
				taken[w][i] = l.Write(fmt.Appendf(nil, "%d %d %s", w, i, pad[:i%len(pad)]))
			}
		})
	}
	wg.Wait()
	closeLines(t, l)

	var want, got [writers][]int
	dropped := uint64(0)
	for w := range writers {
		for i, ok := range taken[w] {
			if ok {
				want[w] = append(want[w], i)
			} else {
				dropped++
			}
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var w, i int
		if _, err := fmt.Sscanf(sc.Text(), "%d %d ", &w, &i); err != nil || w < 0 || w >= writers {
			t.Fatalf("broken line %q: %v", sc.Text(), err)
		}
		if wantLine := fmt.Sprintf("%d %d %s", w, i, pad[:i%len(pad)]); sc.Text() != wantLine {
			t.Fatalf("line %q, want %q", sc.Text(), wantLine)
		}
		got[w] = append(got[w], i)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines by writer (-want +got):\n%s", diff)
	}
	if c.Dropped.Load() != dropped {
		t.Errorf("counted %d dropped lines, %d were refused", c.Dropped.Load(), dropped)
	}
}

// fifo makes a named pipe, and returns its path and its reading end, which does
// not wait for a writer.
func fifo(t *testing.T) (string, *os.File) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, openReader(t, path)
}

func openReader(t *testing.T, path string) *os.File {
	t.Helper()
	r, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// TestLineLogFull stalls the target: Write must go on at once, refuse what has
// no room, and everything it took must arrive once the target reads again.
func TestLineLogFull(t *testing.T) {
	path, r := fifo(t)
	var c LineCounters
	l := openLines(t, path, &c)
	line := []byte(strings.Repeat("y", 1023) + "\n")
	took := 0
	for range 3 * lineRingBytes / len(line) {
		if l.Write(line) {
			took++
		}
	}
	if got := int(c.Dropped.Load()); got == 0 || got+took != 3*lineRingBytes/len(line) {
		t.Fatalf("took %d and dropped %d of %d lines", took, got, 3*lineRingBytes/len(line))
	}
	// The ring, plus what the pipe itself holds.
	if least := lineRingBytes / len(line); took < least || took > least+1<<20/len(line) {
		t.Errorf("took %d lines, want about %d", took, least)
	}

	if err := r.SetReadDeadline(time.Now().Add(testWait)); err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(r)
	for i := range took {
		if !sc.Scan() {
			t.Fatalf("only %d of %d lines arrived: %v", i, took, sc.Err())
		}
		if sc.Text()+"\n" != string(line) {
			t.Fatalf("line %d is %q", i, sc.Text())
		}
	}
	if !l.Write(line) {
		t.Error("a line was refused after the target had read everything")
	}
}

func TestLineLogRefusesALineLargerThanTheRing(t *testing.T) {
	var c LineCounters
	l := openLines(t, filepath.Join(t.TempDir(), "access.log"), &c)
	if l.Write(make([]byte, lineRingBytes)) { // no room for the newline
		t.Error("Write took a line that cannot fit")
	}
	if c.Dropped.Load() != 1 {
		t.Errorf("dropped %d, want 1", c.Dropped.Load())
	}
}

func TestLineLogCloseGivesUpOnASlowReader(t *testing.T) {
	path, _ := fifo(t)
	var c LineCounters
	l, err := OpenLineLog(path, &c, nil)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("z", 1023) + "\n")
	for range 1024 { // far more than a pipe holds
		l.Write(line)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close = %v, want %v", err, context.Canceled)
	}
	until(t, "the writer ends", func() bool {
		select {
		case <-l.done:
			return true
		default:
			return false
		}
	})
	if l.Write(line) {
		t.Error("Write took a line after Close")
	}
	if err := l.Reopen(); err != nil {
		t.Errorf("Reopen after Close = %v", err)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Errorf("a second Close = %v", err)
	}
	if c.Dropped.Load() < 900 {
		t.Errorf("dropped %d lines, want nearly all of 1024", c.Dropped.Load())
	}
}

func TestLineLogReopen(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "access.log"), filepath.Join(dir, "access.log.1")
	l := openLines(t, path, nil)
	l.Write([]byte("before 1"))
	l.Write([]byte("before 2"))
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	l.Write([]byte("between"))
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil { // twice in a row is harmless
		t.Fatal(err)
	}
	l.Write([]byte("after"))
	closeLines(t, l)
	if got, want := readFile(t, old), "before 1\nbefore 2\nbetween\n"; got != want {
		t.Errorf("old file %q, want %q", got, want)
	}
	if got, want := readFile(t, path), "after\n"; got != want {
		t.Errorf("new file %q, want %q", got, want)
	}
}

func TestLineLogReopenKeepsTheOldFileOnError(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "access.log")
	l := openLines(t, path, nil)
	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Reopen = %v, want %v", err, os.ErrNotExist)
	}
	l.Write([]byte("still here"))
	closeLines(t, l)
	if got, want := readFile(t, filepath.Join(moved, "access.log")), "still here\n"; got != want {
		t.Errorf("file %q, want %q", got, want)
	}
}

func TestLineLogReopenOnStdoutDoesNothing(t *testing.T) {
	l := openLines(t, Stdout, nil)
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	if l.Target() != Stdout {
		t.Errorf("Target() = %q", l.Target())
	}
}

// TestLineLogCountsWhatTheDiskRefuses uses the device that is always full.
func TestLineLogCountsWhatTheDiskRefuses(t *testing.T) {
	var c LineCounters
	l := openLines(t, "/dev/full", &c)
	for range 10 {
		if !l.Write([]byte("lost")) {
			t.Fatal("Write told of the target's trouble")
		}
	}
	closeLines(t, l)
	if c.Dropped.Load() != 10 || c.Errors.Load() == 0 {
		t.Errorf("%d dropped and %d errors, want 10 and some", c.Dropped.Load(), c.Errors.Load())
	}
}

// TestLineLogMendsACutLine loses the reader of a pipe in the middle of a line:
// what comes after must not be glued to the half that arrived.
func TestLineLogMendsACutLine(t *testing.T) {
	long := strings.Repeat("l", 2*pipeChunkBytes)
	tests := []struct {
		name   string
		chunks []string // what put is given; "" loses the reader for one chunk
		want   []string
		lost   uint64
	}{
		{"no trouble", []string{"a\nb", "c\n"}, []string{"a", "bc"}, 0},
		{"between lines", []string{"a\n", "", "b\n", "c\n"}, []string{"a", "c"}, 1},
		{"inside a line that goes on later", []string{"a\nb", "", "b\n", "c\n"}, []string{"a", "b", "c"}, 1},
		{"over several chunks of one line", []string{"a", "", "b", "c", "d\ne\n"}, []string{"a", "e"}, 1},
		{"long", []string{long + "\n", "", "x\ny", "y\n", "z\n"}, []string{long, "z"}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, r := fifo(t)
			out, err := openSink(&LineTarget{Path: path, What: "access log", Mode: accessLogMode})
			if err != nil {
				t.Fatal(err)
			}
			var c LineCounters
			l := &LineLog{out: out, count: &c, log: NewLogger(t.Output(), new(slog.LevelVar))}

			var text strings.Builder
			broken := false
			for _, chunk := range tt.chunks {
				if chunk == "" {
					b := make([]byte, 1<<16) // all that a pipe holds
					n, err := r.Read(b)
					if err != nil {
						t.Fatal(err)
					}
					text.Write(b[:n])
					r.Close()
					broken = true
					continue
				}
				l.put([]byte(chunk))
				if broken {
					r, broken = openReader(t, path), false
				}
			}
			if err := out.close(); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(rest)
			got := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if c.Dropped.Load() != tt.lost {
				t.Errorf("counted %d lost lines, want %d", c.Dropped.Load(), tt.lost)
			}
		})
	}
}

func TestOpenLineLogErrors(t *testing.T) {
	dir := t.TempDir()
	lonely := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(lonely, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, target string
		want         error
	}{
		{"no such folder", filepath.Join(dir, "none", "access.log"), os.ErrNotExist},
		{"a folder", dir, unix.EISDIR},
		{"a pipe without a reader", lonely, unix.ENXIO},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := OpenLineLog(tt.target, nil, nil)
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if l != nil {
				t.Error("a log came with the error")
			}
		})
	}
}

func TestLineLogWriteDoesNotAllocate(t *testing.T) {
	l := openLines(t, os.DevNull, nil)
	line := []byte(strings.Repeat("a", 600))
	if got := testing.AllocsPerRun(5000, func() { l.Write(line) }); got != 0 {
		t.Errorf("Write allocates %v times, want 0", got)
	}
}

func BenchmarkLineLogWrite(b *testing.B) {
	for _, target := range []string{os.DevNull, "pipe", filepath.Join(b.TempDir(), "access.log")} {
		b.Run(filepath.Base(target), func(b *testing.B) {
			var out *sink
			if target == "pipe" {
				target, out = os.DevNull, drainedPipe(b)
			}
			l, err := OpenLineLog(target, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			if out != nil {
				l.report(l.out.close())
				l.out = out // the writer looks at it once there is a line
			}
			line := []byte(strings.Repeat("a", 1800)) // as long as one with a route and a service
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				for !l.Write(line) {
					time.Sleep(time.Millisecond)
				}
				runtime.Gosched() // as a connection does that waits for its next request
			}
			if err := l.Close(context.Background()); err != nil {
				b.Error(err)
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// drainedPipe returns a sink that is a pipe, as standard output often is, which
// another process reads until the benchmark ends.
func drainedPipe(b *testing.B) *sink {
	b.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	cat := exec.Command("cat")
	cat.Stdin = r
	if err := errors.Join(cat.Start(), r.Close()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(w.Close(), cat.Wait()); err != nil {
			b.Error(err)
		}
	})
	return &sink{fd: int(w.Fd()), what: "pipe", pipe: true}
}

// cpuTime is what the process has used, its writer and its kernel included.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
