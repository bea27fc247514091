// Package leak finds goroutines that tests leave behind. It is apart from package
// testkit so that the packages which that starts can use it in their own tests.
package leak

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long goroutines get to end by themselves.
const leakPatience = 5 * time.Second

// Main is a TestMain that fails the package if its tests have passed and left a
// goroutine behind.
func Main(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := Leaked(nil); len(left) > 0 {
			fmt.Fprintf(os.Stderr, "%d goroutines are left:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
			code = 1
		}
	}
	os.Exit(code)
}

// Leaked returns the stacks of the goroutines that run now and did not when
// before was taken, once they had time to end. before may be nil.
func Leaked(before map[string]bool) []string { return Within(leakPatience, before) }

// Within is Leaked for another time to end.
func Within(patience time.Duration, before map[string]bool) []string {
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		var left []string
		for id, stack := range stacks() {
			if !before[id] {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(pause)
	}
}

// Goroutines returns the ids of the goroutines that run now, for Leaked.
func Goroutines() map[string]bool {
	ids := make(map[string]bool)
	for id := range stacks() {
		ids[id] = true
	}
	return ids
}

// stacks returns the stack of every goroutine but the caller's and those of the
// testing package and the runtime, by id.
func stacks() map[string]string {
	b := make([]byte, 1<<20)
	for {
		n := runtime.Stack(b, true)
		if n < len(b) {
			b = b[:n]
			break
		}
		b = make([]byte, 2*len(b))
	}
	all := make(map[string]string)
	for i, s := range strings.Split(string(b), "\n\n") {
		if i == 0 || isOfTesting(s) {
			continue
		}
		id, _, _ := strings.Cut(s, " [")
		all[id] = s
	}
	return all
}

func isOfTesting(stack string) bool {
	for _, fn := range []string{"testing.(*T).Run(", "testing.(*M).", "testing.RunTests", "testing.runFuzzing", "testing.tRunner.func", "os/signal.loop", "os/signal.signal_recv", "runtime.ensureSigM", "runtime/pprof."} {
		if strings.Contains(stack, fn) {
			return true
		}
	}
	return false
}
