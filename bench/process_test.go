package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// running starts a launcher for the length of a test.
func running(t *testing.T) *launcher {
	t.Helper()
	l := newLauncher()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		l.run(ctx)
		close(done)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func TestPinning(t *testing.T) {
	l := running(t)
	for _, cpu := range []int{1, 0} {
		out := filepath.Join(t.TempDir(), "out")
		p, err := l.start("grep", cpu, out, []string{"/bin/grep", "Cpus_allowed_list", "/proc/self/status"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if want := fmt.Sprintf("Cpus_allowed_list:\t%d\n", cpu); err != nil || string(b) != want {
			t.Errorf("got %q, %v; want %q", b, err, want)
		}
	}
}

func TestStopEndsTheGroup(t *testing.T) {
	l := running(t)
	out := filepath.Join(t.TempDir(), "out")
	// The leader leaves on SIGTERM; its child ignores it.
	p, err := l.start("sh", 0, out, []string{"/bin/sh", "-c", `(trap "" TERM; echo $$; exec sleep 600) & trap "exit 0" TERM; wait`})
	if err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { b, _ := os.ReadFile(out); return len(b) > 0 })
	group := func() (n int) {
		stats, err := readStats()
		if err != nil {
			t.Fatal(err)
		}
		for pid := range stats {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// The fifth field is the process group; the third is the state.
			_, rest, _ := strings.Cut(string(b), ") ")
			if f := strings.Fields(rest); len(f) > 2 && f[2] == fmt.Sprint(p.pid()) && f[0] != "Z" {
				n++
			}
		}
		return n
	}
	u, err := usageOf(p.pid())
	if err != nil || len(u.pids) != 2 || u.resident == 0 {
		t.Errorf("before: got usage %+v, %v; want two processes", u, err)
	}
	p.stop()
	until(t, func() bool { return group() == 0 })
	if _, err := usageOf(p.pid()); err == nil {
		t.Error("usage of an ended process: want an error")
	}
}

// until polls a condition of another process, which gives no other sign.
func until(t *testing.T, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !cond() {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			t.Fatal("the condition did not come true")
		}
	}
}

func TestUnexpectedEnd(t *testing.T) {
	l := running(t)
	p, err := l.start("sh", 0, filepath.Join(t.TempDir(), "out"), []string{"/bin/sh", "-c", "echo cannot go on; exit 7"})
	if err != nil {
		t.Fatal(err)
	}
	err = awaitPorts(t.Context(), p, 1)
	if err == nil || err.Error() != "sh ended: exit status 7; its output ends with:\ncannot go on\n" {
		t.Errorf("got %v", err)
	}
	if _, err := l.start("x", 0, filepath.Join(t.TempDir(), "out"), []string{"/nonexistent"}); err == nil || !strings.HasPrefix(err.Error(), "starting x: ") {
		t.Errorf("got %v", err)
	}
}

func TestParseStat(t *testing.T) {
	tests := []struct {
		name, line string
		pid        int
		want       stat
		bad        bool
	}{
		{name: "plain", line: "42 (nginx) S 7 42 42 0 -1 0 1 2 3 4 150 50 9 9 20 0 1 0", pid: 42, want: stat{parent: 7, cpu: 2 * time.Second}},
		{name: "odd name", line: "42 (a) b (c)) R 7 42 42 0 -1 0 1 2 3 4 1 0 9 9 20 0 1 0", pid: 42, want: stat{parent: 7, cpu: 10 * time.Millisecond}},
		{name: "short", line: "42 (nginx) S 7 42", bad: true},
		{name: "no name", line: "42 S 7 42 42 0 -1 0 1 2 3 4 150 50", bad: true},
		{name: "not a number", line: "42 (nginx) S x 42 42 0 -1 0 1 2 3 4 150 50 9", bad: true},
		{name: "empty", line: "", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pid, s, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.bad {
				t.Fatalf("got error %v", err)
			}
			if !tt.bad && (pid != tt.pid || s != tt.want) {
				t.Errorf("got %d, %+v; want %d, %+v", pid, s, tt.pid, tt.want)
			}
		})
	}
}

func TestParseResident(t *testing.T) {
	for in, want := range map[string]int64{
		"Name:\tx\nVmHWM:\t 99 kB\nVmRSS:\t    1234 kB\nThreads:\t1\n": 1234 << 10,
		"Name:\tzombie\nState:\tZ\n":                                   0,
	} {
		if got, err := parseResident([]byte(in)); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	if _, err := parseResident([]byte("VmRSS:\t12 MB\n")); err == nil {
		t.Error("a unit other than kB: want an error")
	}
}
