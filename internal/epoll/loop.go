package epoll

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// The events that a handler is told of.
const (
	Readable   = uint32(unix.EPOLLIN)
	Writable   = uint32(unix.EPOLLOUT)
	Urgent     = uint32(unix.EPOLLPRI)   // a read stops at urgent data, with more behind it
	ReadClosed = uint32(unix.EPOLLRDHUP) // the peer has closed its side
	Closed     = uint32(unix.EPOLLHUP)   // both directions are closed
	Failed     = uint32(unix.EPOLLERR)   // SO_ERROR holds the reason
	edge       = uint32(unix.EPOLLET & 0xffffffff)
)

const (
	// maxEvents is how many events one turn takes from the kernel.
	maxEvents = 256
	// maxBusy is how long the loop may go on without giving way to the other
	// goroutines that wait for the network.
	maxBusy = int64(500 * time.Microsecond)
)

// Handler is what stands behind a descriptor. Ready is called on the loop and
// must not wait. It may call every method of the loop. Events are edges: one
// that was told is not told again until there is news, so whoever leaves bytes
// behind calls Again.
type Handler interface {
	// Ready gets the events that are new since the last call; 0 stands for a
	// call that Again asked for.
	Ready(events uint32)
}

// Loop waits for descriptors, timers and posted functions. But for Post, Close
// and Counts, its methods are for the goroutine in Run, or for any single one
// before Run.
type Loop struct {
	// Panicked, if set before Run, is told of a panic of a handler, timer or
	// posted function, and goes on. Without it the panic is not recovered. It
	// runs on the loop.
	Panicked func(h Handler, value any, stack []byte)

	file *os.File // the epoll descriptor, known to the runtime's poller
	raw  syscall.RawConn
	fd   int // of file
	wake int // an eventfd, written to wake the loop
	step func(uintptr) bool

	now    int64 // sock.Now at the turn's begin
	slots  []slot
	events [maxEvents]unix.EpollEvent
	at, n  int     // the event that is being told, and how many there are
	told   Handler // of the call under way
	again  []Handler
	later  []Handler // what was again, kept for its room
	wheel  wheel
	armed  int64 // the deadline armed on file; 0: none

	asleep atomic.Bool // the next Post must write to wake
	counts counters

	mu     sync.Mutex
	posted []func()
	closed bool // nothing more is taken
	taken  []func()
}

// slot is what is known of a descriptor. The generation tells the events of a
// descriptor from those of an earlier one of the same number.
type slot struct {
	h   Handler
	gen uint32
}

// New makes a loop. It holds two descriptors until Run has returned, or until
// Close if Run is never called.
func New() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &Loop{fd: fd, wake: wake}
	l.step = l.turns
	l.now = sock.Now()
	l.wheel.start(l.now)
	if err := l.open(); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// open makes the epoll descriptor known to the runtime's poller, which waits
// for it as it does for any other: no thread stands in the kernel for a loop
// that has nothing to do.
func (l *Loop) open() error {
	if err := unix.SetNonblock(l.fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	l.file = os.NewFile(uintptr(l.fd), "epoll")
	var err error
	if l.raw, err = l.file.SyscallConn(); err != nil {
		return fmt.Errorf("opening the epoll descriptor: %w", err)
	}
	if err := l.file.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("waiting for the epoll descriptor: %w", err)
	}
	// The counter is never read: each write is an edge of its own.
	ev := unix.EpollEvent{Events: Readable | edge, Fd: int32(l.wake)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, l.wake, &ev))
}

func (l *Loop) release() {
	if l.file != nil {
		l.file.Close()
	} else {
		unix.Close(l.fd)
	}
	unix.Close(l.wake)
}

// Add waits for a non-blocking descriptor from now on: for bytes, urgent ones
// too, room to write and the peer's end, by edges. What is so already is told in the next turn.
// The descriptor stays the caller's, who calls Remove before closing it.
func (l *Loop) Add(fd int, h Handler) error {
	return l.AddFor(fd, Readable|Writable|ReadClosed|Urgent, h)
}

// AddFor is Add for chosen events. Closed and Failed are always told.
func (l *Loop) AddFor(fd int, events uint32, h Handler) error { return l.add(fd, events|edge, h) }

// AddLevel is AddFor by levels in place of edges: what is so is told again in
// every turn, so that a handler need not look whether there is more.
func (l *Loop) AddLevel(fd int, events uint32, h Handler) error { return l.add(fd, events, h) }

func (l *Loop) add(fd int, events uint32, h Handler) error {
	if fd < 0 {
		return unix.EBADF
	}
	for fd >= len(l.slots) {
		l.slots = append(l.slots, slot{})
		l.slots = l.slots[:cap(l.slots)]
	}
	s := &l.slots[fd]
	s.gen++
	ev := unix.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(s.gen)}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.h = h
	return nil
}

// Hand lets another handler be told of a descriptor that was added.
func (l *Loop) Hand(fd int, h Handler) { l.slots[fd].h = h }

// Remove ends the wait for a descriptor. Its handler is not called any more,
// unless it had asked for that by Again.
func (l *Loop) Remove(fd int) {
	if l.Forget(fd) {
		_ = unix.EpollCtl(l.fd, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// Forget is Remove for a descriptor that the caller closes at once and of which
// there is no duplicate: the kernel then ends the wait by itself. It reports
// whether there was one.
func (l *Loop) Forget(fd int) bool {
	if fd < 0 || fd >= len(l.slots) || l.slots[fd].h == nil {
		return false
	}
	l.slots[fd].h = nil
	l.slots[fd].gen++
	return true
}

// Again calls h.Ready(0) once more, after all events of this turn were told and
// those that are new by then: how a handler that has more to do lets others go
// first. Asked twice, it is called twice.
func (l *Loop) Again(h Handler) { l.again = append(l.again, h) }

// Now is sock.Now at the begin of the turn under way.
func (l *Loop) Now() int64 { return l.now }

// Post runs f on the loop soon, in the order of the calls. It may be called by
// any goroutine, f must not wait. False says that the loop is closed, and f
// will not run; what was posted before Close is run.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.posted = append(l.posted, f)
	if l.asleep.Swap(false) {
		l.rouse() // under the lock: the descriptor is not closed before
	}
	l.mu.Unlock()
	return true
}

func (l *Loop) rouse() {
	one := [8]byte{1}
	_, _ = unix.Write(l.wake, one[:])
}

// Close lets Run end after the turn under way. It does not wait for that. Any
// goroutine may call it, more than once.
func (l *Loop) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.rouse()
	}
}

// Run serves until Close. What was posted before is run; descriptors that are
// still there stay open, timers are not called any more.
func (l *Loop) Run() {
	for {
		err := l.raw.Read(l.step)
		if err == nil {
			break
		}
		// The armed deadline is over.
		l.armed = 0
		_ = l.file.SetReadDeadline(time.Time{})
	}
	l.release()
}
