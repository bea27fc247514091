package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Stdout is the access log target that means the process's standard output.
const Stdout = "stdout"

const (
	// lineRingBytes bounds what waits for the disk: at 100,000 lines a second of
	// 600 bytes it covers a stall of 70 ms. Past it lines are dropped and counted.
	lineRingBytes = 4 << 20

	// lineBatchBytes wakes the writer before lineDelay is over. It is large
	// against a line, so that a system call serves hundreds of lines, and small
	// against the ring and a processor's cache.
	lineBatchBytes = 256 << 10

	// lineDelay is the longest a line waits for company.
	lineDelay = 100 * time.Millisecond
)

// LineCounters count the lines of logs. They belong to who outlives a change of
// target, such as Metrics.
type LineCounters struct {
	Lines   Counter // taken into the buffer
	Dropped Counter // lost: the buffer was full, the log closed, or the target refused them
	Errors  Counter // failed writes to the target
}

// LineTarget says where lines go, and how errors speak of it.
type LineTarget struct {
	Path string
	What string // "access log"
	Hint string // what Path may be, for who reads that it cannot be opened
	Mode uint32 // of a file that is created, before the umask

	Stdout bool // lines go to standard output, and Path only names it
}

// LineLog carries finished lines to a file or to standard output. Write copies
// a line into a bounded ring and never waits for the target; one goroutine,
// started by OpenLineLog and joined by Close, empties the ring in batches.
type LineLog struct {
	target LineTarget
	count  *LineCounters
	follow atomic.Int32 // how many want the path to be looked at
	log    *slog.Logger
	wake   chan struct{} // holds a token when the writer has something to look at
	stop   chan struct{} // closed by Close
	abort  chan struct{} // closed when Close's context is over
	done   chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	ring   []byte // lineRingBytes long, in a ring from start, used bytes full
	start  int
	used   int
	next   *sink // what Reopen opened and the writer has not yet taken
	before int   // bytes in the ring that still belong to the sink before next
	closed bool

	// Owned by the writer goroutine.
	out     *sink
	inside  bool // the last byte the sink took was inside a line
	torn    bool // that line will not be completed: a newline must come first
	skip    bool // the last byte lost was inside a line: the rest of it must go too
	failing bool // the last write failed, and the log was told so
	astray  bool // the file was moved and the path cannot be opened, and the log was told so
}

// OpenLineLog opens the access log, which is Stdout or the path of a file to
// append to, and starts the writer. Both count and log may be nil. The caller
// owns Close.
func OpenLineLog(target string, count *LineCounters, log *slog.Logger) (*LineLog, error) {
	return OpenLines(LineTarget{
		Path: target, What: "access log", Mode: accessLogMode, Stdout: target == Stdout,
		Hint: `node.log.access is "stdout", "off" or a path that the process may write`,
	}, count, log)
}

// OpenLines is OpenLineLog for any file of lines.
func OpenLines(target LineTarget, count *LineCounters, log *slog.Logger) (*LineLog, error) {
	out, err := openSink(&target)
	if err != nil {
		return nil, err
	}
	if count == nil {
		count = new(LineCounters)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &LineLog{
		target: target,
		count:  count,
		log:    log,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		abort:  make(chan struct{}),
		done:   make(chan struct{}),
		ring:   make([]byte, lineRingBytes),
		out:    out,
	}
	go l.run()
	return l, nil
}

// Target returns the path, or Stdout, that the log was opened with.
func (l *LineLog) Target() string { return l.target.Path }

// Follow lets the writer look at the path before each batch, and open it anew
// when the file was moved or removed, until it is told as often to leave off.
func (l *LineLog) Follow(on bool) {
	if on {
		l.follow.Add(1)
	} else {
		l.follow.Add(-1)
	}
}

// Write takes a copy of line, to which it adds a newline if there is none, and
// reports whether there was room. It never waits for the target and does not
// allocate. Any number of goroutines may call it.
func (l *LineLog) Write(line []byte) bool {
	if len(line) == 0 {
		return true
	}
	size := len(line)
	bare := line[size-1] != '\n'
	if bare {
		size++
	}

	l.mu.Lock()
	had := l.used
	if l.closed || size > lineRingBytes-had {
		l.mu.Unlock()
		l.count.Dropped.Inc()
		return false
	}
	at := (l.start + had) % lineRingBytes
	if n := copy(l.ring[at:], line); n < len(line) {
		copy(l.ring, line[n:])
	}
	if bare {
		l.ring[(at+size-1)%lineRingBytes] = '\n'
	}
	l.used = had + size
	l.mu.Unlock()

	l.count.Lines.Inc()
	if had == 0 || (had < lineBatchBytes && had+size >= lineBatchBytes) {
		l.nudge()
	}
	return true
}

// Reopen opens the target's path anew and sends there whatever is written from
// now on, as log rotation wants it. On an error the old file serves on. On
// standard output it does nothing.
func (l *LineLog) Reopen() error {
	if l.target.Stdout {
		return nil
	}
	s, err := openSink(&l.target)
	if err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return s.close()
	}
	skipped := l.next
	l.next, l.before = s, l.used
	l.mu.Unlock()
	l.nudge()
	if skipped != nil {
		return skipped.close() // two Reopens before the writer looked: the first one's file got no line
	}
	return nil
}

// Close takes no more lines, writes what is buffered and joins the writer. When
// ctx ends first the rest is dropped, counted, and told as an error.
func (l *LineLog) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)

	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
	}
	close(l.abort)
	// A sink looks at abort each sinkPoll. Only a disk that hangs inside write(2)
	// can outlast this wait; nothing in the process can interrupt that.
	t := time.NewTimer(4 * sinkPoll)
	defer t.Stop()
	select {
	case <-l.done:
	case <-t.C:
	}
	return fmt.Errorf("flushing %s %q: %w", l.target.What, l.target.Path, context.Cause(ctx))
}

// nudge leaves a token for the writer, unless one lies there already.
func (l *LineLog) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run is the writer: it sleeps while there is nothing, lets a batch gather for
// at most lineDelay, and writes it.
func (l *LineLog) run() {
	defer close(l.done)
	gather := time.NewTimer(lineDelay)
	defer gather.Stop()
	for stopping := false; ; {
		waiting, swap := l.pending()
		switch {
		case stopping && waiting == 0 && !swap:
			l.report(l.out.close())
			return
		case stopping, swap, waiting >= lineBatchBytes:
			// Write at once.
		case waiting == 0:
			select {
			case <-l.wake:
			case <-l.stop:
				stopping = true
			}
			continue
		default:
			gather.Reset(lineDelay)
			select {
			case <-l.wake:
			case <-gather.C:
			case <-l.stop:
				stopping = true
			}
		}
		l.flush()
	}
}

// pending returns how many bytes wait, and whether a new sink does.
func (l *LineLog) pending() (waiting int, swap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used, l.next != nil
}

// flush writes what the ring held when it was called, and changes the sink at
// the byte where Reopen wants it.
func (l *LineLog) flush() {
	l.chase()
	left, _ := l.pending()
	for {
		l.mu.Lock()
		var old *sink
		if l.next != nil && l.before == 0 {
			old, l.out, l.next = l.out, l.next, nil
		}
		chunk := l.ring[l.start:min(l.start+min(left, l.used), len(l.ring))]
		if l.next != nil {
			chunk = chunk[:min(len(chunk), l.before)]
		}
		l.mu.Unlock()
		if old != nil {
			l.inside, l.torn = false, false
			l.report(old.close())
		}
		if len(chunk) == 0 {
			return
		}
		chunk = chunk[:min(len(chunk), lineBatchBytes)]
		l.put(chunk) // writers only touch the ring outside of chunk until it is released
		l.release(len(chunk))
		left -= len(chunk)
	}
}

// chase opens the path anew if the file has been moved, and Follow wants that.
// It is called between lines, unless one was cut.
func (l *LineLog) chase() {
	if l.follow.Load() <= 0 || l.inside || !l.out.moved() {
		return
	}
	fresh, err := openSink(&l.target)
	if err != nil {
		l.count.Errors.Inc()
		if !l.astray {
			l.log.Error("writing on to the old file", "log", l.target.What, "error", err)
		}
		l.astray = true
		return
	}
	old := l.out
	l.out, l.torn, l.astray = fresh, false, false
	l.report(old.close())
}

// release gives n bytes at the ring's start back to Write.
func (l *LineLog) release(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start = (l.start + n) % lineRingBytes
	l.used -= n
	l.before = max(0, l.before-n)
	if l.used == 0 {
		l.start = 0 // a quiet log keeps to the ring's first pages
	}
}

// put writes chunk to the sink. What the sink does not take is lost, and whole
// lines only are lost: what is left of a line that was cut is skipped.
func (l *LineLog) put(chunk []byte) {
	if l.skip {
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			return
		}
		l.count.Dropped.Inc()
		l.skip = false
		chunk = chunk[i+1:]
	}
	if l.torn {
		if _, err := l.out.write([]byte("\n"), l.abort); err != nil {
			l.lose(chunk, err)
			return
		}
		l.torn, l.inside = false, false
	}
	n, err := l.out.write(chunk, l.abort)
	if n > 0 {
		l.inside = chunk[n-1] != '\n'
	}
	if err != nil {
		l.lose(chunk[n:], err)
		return
	}
	if l.failing && n > 0 {
		l.failing = false
		l.log.Info("log is written again", "log", l.target.What, "target", l.target.Path)
	}
}

// lose counts the lines that end in rest, which the sink did not take.
func (l *LineLog) lose(rest []byte, err error) {
	l.count.Dropped.Add(uint64(bytes.Count(rest, []byte("\n"))))
	l.skip = len(rest) > 0 && rest[len(rest)-1] != '\n'
	l.torn = l.inside
	l.report(err)
}

// report counts an error and logs the first one in a row.
func (l *LineLog) report(err error) {
	if err == nil {
		return
	}
	l.count.Errors.Inc()
	if !l.failing {
		l.log.Error("log lines are being lost", "log", l.target.What, "target", l.target.Path, "error", err)
	}
	l.failing = true
}
