package sock

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// relay is two connections: from <- feeder, and to -> drain.
type relay struct {
	from, to      *Conn
	feeder, drain *net.TCPConn
}

func newRelay(t *testing.T) *relay {
	t.Helper()
	r := new(relay)
	r.from, r.feeder = pair(t)
	r.to, r.drain = pair(t)
	return r
}

func TestSplice(t *testing.T) {
	r := newRelay(t)
	go func() {
		_, _ = io.WriteString(r.feeder, large+"behind")
	}()
	got := make(chan bool)
	go func() {
		all := make([]byte, len(large))
		_, err := io.ReadFull(r.drain, all)
		got <- err == nil && string(all) == large
	}()
	turns := 0
	moved, _, err := Splice(r.to, r.from, int64(len(large)), func() { turns++ })
	if err != nil || moved != int64(len(large)) {
		t.Fatalf("moved %d, %v", moved, err)
	}
	if !<-got {
		t.Error("the bytes that arrived differ")
	}
	if turns < len(large)/pipeBytes {
		t.Errorf("before was called %d times for %d bytes", turns, len(large))
	}
	// Not a byte too many was taken.
	p := make([]byte, len("behind"))
	if _, err := io.ReadFull(r.from, p); err != nil || string(p) != "behind" {
		t.Errorf("what follows is %q, %v", p, err)
	}
}

func TestSpliceNothing(t *testing.T) {
	r := newRelay(t)
	if moved, _, err := Splice(r.to, r.from, 0, func() { t.Error("before was called") }); moved != 0 || err != nil {
		t.Errorf("moved %d, %v", moved, err)
	}
}

func TestSpliceSourceEndsEarly(t *testing.T) {
	r := newRelay(t)
	send(t, r.feeder, "half")
	r.feeder.Close()
	moved, fromSource, err := Splice(r.to, r.from, 8, func() {})
	if moved != 4 || !fromSource || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("moved %d, from source %v, %v", moved, fromSource, err)
	}
	expect(t, r.drain, "half")
}

func TestSpliceSourceReset(t *testing.T) {
	r := newRelay(t)
	_ = r.feeder.SetLinger(0)
	r.feeder.Close()
	_, fromSource, err := Splice(r.to, r.from, 8, func() {})
	if !fromSource || err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("from source %v, %v, want the source's reset", fromSource, err)
	}
}

func TestSpliceSourceSilent(t *testing.T) {
	r := newRelay(t)
	send(t, r.feeder, "half")
	moved, fromSource, err := Splice(r.to, r.from, 8, func() { r.from.ArmRead(Now(), 50*time.Millisecond) })
	if moved != 4 || !fromSource || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("moved %d, from source %v, %v", moved, fromSource, err)
	}
}

func TestSpliceDestinationBroken(t *testing.T) {
	r := newRelay(t)
	_ = r.drain.SetLinger(0)
	r.drain.Close()
	await(t, "the reset has arrived", r.to.Departed)
	send(t, r.feeder, "whole")
	moved, fromSource, err := Splice(r.to, r.from, 5, func() {})
	if moved != 0 || fromSource || err == nil {
		t.Errorf("moved %d, from source %v, %v", moved, fromSource, err)
	}
}

func TestSpliceDestinationStalls(t *testing.T) {
	r := newRelay(t)
	_ = r.to.SetDeadline(time.Time{})
	_ = r.to.SetWriteBuffer(smallBuffer)
	go func() { _, _ = io.WriteString(r.feeder, large) }()
	moved, fromSource, err := Splice(r.to, r.from, int64(len(large)), func() { r.to.SetWriteTimeout(50 * time.Millisecond) })
	if moved <= 0 || moved >= int64(len(large)) || fromSource || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("moved %d, from source %v, %v", moved, fromSource, err)
	}
	// What counts as moved is what the destination has.
	r.to.TCPConn.Close()
	got, err := io.Copy(io.Discard, r.drain)
	if err != nil || got != moved {
		t.Errorf("the destination got %d bytes, %v, want %d", got, err, moved)
	}
}

// TestSpliceSlowReader has a destination that takes bytes all the time, but fewer
// within the write timeout than a turn moves, and fewer than the kernel waits for
// before it tells of room.
func TestSpliceSlowReader(t *testing.T) {
	r := newRelay(t)
	_ = r.to.SetDeadline(time.Time{})
	_ = r.to.SetWriteBuffer(pipeBytes)
	_ = r.drain.SetReadBuffer(smallBuffer)
	r.to.SetWriteTimeout(time.Second)
	const size = 5 * pipeBytes / 2
	go func() { _, _ = r.feeder.Write(make([]byte, size)) }()
	got := make(chan int64)
	go func() {
		var n int64
		for n < size {
			m, err := io.CopyN(io.Discard, r.drain, 4<<10)
			if n += m; err != nil {
				break
			}
			time.Sleep(30 * time.Millisecond) // the reader's pace, which is what is tested
		}
		got <- n
	}()
	moved, fromSource, err := Splice(r.to, r.from, size, func() {})
	if moved != size || err != nil {
		t.Errorf("moved %d of %d, from source %v, %v", moved, size, fromSource, err)
		r.to.TCPConn.Close()
	}
	if n := <-got; n != size {
		t.Errorf("the destination got %d of %d bytes", n, size)
	}
}

// TestSpliceInterrupted ends a wait for a destination that does take bytes.
func TestSpliceInterrupted(t *testing.T) {
	r := newRelay(t)
	_ = r.to.SetWriteBuffer(smallBuffer)
	r.to.SetWriteTimeout(time.Hour)
	go func() { _, _ = io.WriteString(r.feeder, large) }()
	ended := make(chan error, 1)
	go func() {
		_, _, err := Splice(r.to, r.from, int64(len(large)), func() {})
		ended <- err
	}()
	await(t, "the destination is full", func() bool {
		full := false
		_ = r.to.raw.Control(func(fd uintptr) { full = unacknowledged(fd) > 0 })
		return full
	})
	_, _ = io.CopyN(io.Discard, r.drain, 1)
	_ = r.to.TCPConn.SetWriteDeadline(time.Unix(1, 0))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline", err)
	}
}

// TestPipes shows that empty pipes are kept, and one that still holds bytes is
// not: they would reach another connection.
func TestPipes(t *testing.T) {
	p, err := getPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.put()
	idlePipes.mu.Lock()
	kept := idlePipes.pipes[len(idlePipes.pipes)-1] == p
	before := len(idlePipes.pipes)
	idlePipes.mu.Unlock()
	if !kept {
		t.Error("an empty pipe was not kept")
	}

	p, err = getPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.held = 1
	p.put()
	idlePipes.mu.Lock()
	after := len(idlePipes.pipes)
	idlePipes.mu.Unlock()
	if after != before-1 {
		t.Errorf("%d pipes kept, want %d: one with bytes must be closed", after, before-1)
	}

	var taken []*pipe
	for range maxIdlePipes + 8 {
		p, err := getPipe()
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, p)
	}
	for _, p := range taken {
		p.put()
	}
	idlePipes.mu.Lock()
	defer idlePipes.mu.Unlock()
	if n := len(idlePipes.pipes); n != maxIdlePipes {
		t.Errorf("%d pipes kept, want %d", n, maxIdlePipes)
	}
}

// TestSpliceWithoutPipe shows that a process out of descriptors is told so
// before a byte is moved, so that they can be copied.
func TestSpliceWithoutPipe(t *testing.T) {
	r := newRelay(t)
	send(t, r.feeder, "whole")
	idlePipes.mu.Lock()
	kept := idlePipes.pipes
	idlePipes.pipes = nil
	idlePipes.mu.Unlock()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// What is open stays open; nothing can be opened meanwhile.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	moved, _, err := Splice(r.to, r.from, 5, func() { t.Error("before was called") })
	if lerr := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); lerr != nil {
		t.Fatal(lerr)
	}
	idlePipes.mu.Lock()
	idlePipes.pipes = append(idlePipes.pipes, kept...)
	idlePipes.mu.Unlock()
	if moved != 0 || !errors.Is(err, ErrNoPipe) {
		t.Errorf("moved %d, %v, want ErrNoPipe", moved, err)
	}
	p := make([]byte, 5)
	if _, err := io.ReadFull(r.from, p); err != nil || string(p) != "whole" {
		t.Errorf("what can still be copied is %q, %v", p, err)
	}
}

// TestSpliceCut shows that Cut ends a splice whose source speaks, whose write deadline
// would be armed anew, and one whose source is silent.
func TestSpliceCut(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent bool
	}{{"while the source speaks", false}, {"while the source is silent", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRelay(t)
			r.to.SetWriteTimeout(time.Second)
			const part, parts = 100 << 10, 10
			go func() { _, _ = io.Copy(io.Discard, r.drain) }()
			time.AfterFunc(10*time.Second, func() { _ = r.feeder.Close() }) // what is not cut ends early
			type outcome struct {
				moved      int64
				fromSource bool
				err        error
			}
			done := make(chan outcome, 1)
			go func() {
				var o outcome
				o.moved, o.fromSource, o.err = Splice(r.to, r.from, parts*part, func() { r.from.ArmRead(Now(), time.Minute) })
				done <- o
			}()
			send(t, r.feeder, large[:part])
			time.Sleep(200 * time.Millisecond) // the write deadline is armed anew by the next write
			r.to.Cut()
			if !tt.silent {
				_, _ = io.WriteString(r.feeder, large[:(parts-1)*part]) // which breaks when it is cut
			}
			o := <-done
			if !errors.Is(o.err, os.ErrDeadlineExceeded) || o.fromSource || o.moved >= parts*part {
				t.Errorf("moved %d, %t, %v, want less than all and a deadline of the destination's", o.moved, o.fromSource, o.err)
			}
		})
	}
}
