package udp

import (
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// sweepPause is how often the loop looks for what has taken too long.
const sweepPause = 20 * time.Millisecond

// loop waits for the sockets of a load on a thread of its own, which stands in
// epoll_wait: whoever sends to them pays for one wake-up and no more. (A
// descriptor of internal/epoll has two, and the second would be put to the
// account of the proxy under test.)
type loop struct {
	fd, wake int
	flows    map[int32]*flow
	swept    func() // called now and then
	now      int64

	mu     sync.Mutex
	posted []func()
	closed bool
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &loop{fd: fd, wake: wake, flows: make(map[int32]*flow), now: sock.Now()}
	if err := l.watch(wake); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

func (l *loop) release() {
	unix.Close(l.fd)
	unix.Close(l.wake)
}

func (l *loop) watch(fd int) error {
	// By edges, and what is there is read until there is no more.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// add is for the time before run.
func (l *loop) add(f *flow) error {
	l.flows[int32(f.fd)] = f
	return l.watch(f.fd)
}

// on runs f on the loop and waits for it; on a closed loop it does nothing.
func (l *loop) on(f func()) {
	done := make(chan struct{})
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.posted = append(l.posted, func() { f(); close(done) })
	l.rouse()
	l.mu.Unlock()
	<-done
}

func (l *loop) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.rouse()
}

func (l *loop) rouse() { _, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

// run serves until close.
func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.release()
	var events [256]unix.EpollEvent
	for due := int64(0); ; {
		n, err := unix.EpollWait(l.fd, events[:], int(sweepPause.Milliseconds()))
		if err != nil {
			n = 0
		}
		l.now = sock.Now()
		for _, ev := range events[:n] {
			if f := l.flows[ev.Fd]; f != nil {
				f.ready()
			}
		}
		if l.now >= due && l.swept != nil {
			due = l.now + int64(sweepPause)
			l.swept()
		}
		if !l.runPosted() {
			return
		}
	}
}

// runPosted returns false once the loop is closed.
func (l *loop) runPosted() bool {
	l.mu.Lock()
	posted, closed := l.posted, l.closed
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
	return !closed
}
