package forward

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// sender copies a request body that is still arriving to a call. As long as all
// of it fits into one block it is kept, so that another call can be sent it. It
// owns one goroutine, from start on, which stop joins.
type sender struct {
	body   l7.RequestBody
	bare   bool          // without the client's trailer
	stall  time.Duration // that the upstream may take none for
	panics *telemetry.Counter
	done   chan struct{}
	over   atomic.Int64 // sock.Now when all was sent; 0: it is not
	broken atomic.Bool  // the client's side has failed

	mu      sync.Mutex
	turn    sync.Cond  // another call, or the end
	call    l7.Call    // nil: the one there was takes no more
	block   *buf.Block // B[:n] is here and B[:sent] with the call
	n, sent int
	whole   bool // B[:n] is all that came
	ended   bool // and all there is
	closed  bool // the call knows
	stopped bool
	err     *l7.Error // the client's doing
	cause   error     // why the last call took no more
}

func newSender(x *l7.Exchange, panics *telemetry.Counter, stall time.Duration) *sender {
	s := &sender{
		body: x.Req.Body, bare: x.Upstream.NoTrailer, stall: stall, panics: panics,
		done: make(chan struct{}), block: buf.Get(uploadBlock), whole: true,
	}
	s.turn.L = &s.mu
	return s
}

// start sends the head to the first call, and lets the content follow.
func (s *sender) start(call l7.Call, head *l7.CallHead) error {
	err := call.Send(head, nil, false)
	if err == nil {
		s.call = call
	}
	go s.run()
	return err
}

// errPassed is content that was passed on and is not here any more.
var errPassed = errors.New("the request's content cannot be sent again")

// resend begins anew with another call. kept has said that this can be done.
func (s *sender) resend(call l7.Call, head *l7.CallHead) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.whole {
		return errPassed
	}
	end := s.ended && s.trailer() == nil
	// Nothing is written to B[:n] any more, and what comes meanwhile waits.
	if err := call.Send(head, s.block.B[:s.n], end); err != nil {
		return err
	}
	s.call, s.sent, s.closed = call, s.n, end
	if end {
		s.over.Store(sock.Now())
	}
	s.turn.Signal()
	return nil
}

// kept reports whether all that was read so far can be sent again.
func (s *sender) kept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.whole && s.err == nil
}

// sentAt returns when all was sent, or now while it is not; see upload.sentAt.
func (s *sender) sentAt(now int64) int64 {
	if at := s.over.Load(); at != 0 {
		return at
	}
	return now
}

// failed reports whether the client's side has failed.
func (s *sender) failed() bool { return s.broken.Load() }

// clientError returns why.
func (s *sender) clientError() *l7.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// why returns why the call took no more, if that is what err tells of.
func (s *sender) why(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil && errors.Is(err, l7.ErrStopped) {
		return s.cause
	}
	return err
}

// stop ends the sender, wherever it is, and returns what the client did wrong.
// The call has been closed.
func (s *sender) stop() *l7.Error {
	s.mu.Lock()
	s.stopped = true
	s.turn.Signal()
	s.mu.Unlock()
	s.body.Stop()
	<-s.done
	s.block.Put()
	return s.err
}

func (s *sender) run() {
	defer close(s.done)
	defer func() { s.over.CompareAndSwap(0, sock.Now()) }() // an answer is not waited for without end
	defer func() {
		if recover() != nil {
			s.panics.Inc()
			s.fail(internalError(nil))
		}
	}()
	for s.step() {
	}
}

// step sends what is here, or else reads. It reports false at the end.
func (s *sender) step() bool {
	s.mu.Lock()
	for !s.stopped && (s.call == nil || s.closed) {
		s.turn.Wait()
	}
	stopped, call, from, to, ended := s.stopped, s.call, s.sent, s.n, s.ended
	if !stopped && from == to && !ended && to == len(s.block.B) {
		s.whole, s.n, s.sent, to = false, 0, 0, 0
	}
	s.mu.Unlock()
	switch {
	case stopped:
		return false
	case from < to || ended:
		s.pass(call, s.block.B[from:to], to, ended)
		return true
	}
	n, err := s.body.Read(s.block.B[to:])
	return s.took(n, err)
}

// pass sends content, and the end of it, to the call.
func (s *sender) pass(call l7.Call, p []byte, to int, ended bool) {
	trailer := s.trailer()
	var err error
	if len(p) > 0 {
		err = call.Write(p, ended && trailer == nil, s.stall)
	} else if trailer == nil {
		err = call.Finish(nil)
	}
	if err == nil && ended && trailer != nil {
		err = call.Finish(trailer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.call != call: // it is another one's turn
	case err != nil:
		// Who reads the answer learns from the call why, but for a stall.
		s.call, s.cause = nil, err
		call.Stop()
	default:
		if s.sent, s.closed = to, ended; ended {
			s.over.Store(sock.Now())
		}
	}
}

// trailer returns the client's trailer fields, nil if there are none.
func (s *sender) trailer() *l7.Header {
	if s.bare || !s.ended {
		return nil
	}
	if t := s.body.Trailer(); t.Len() > 0 {
		return t
	}
	return nil
}

// took takes in what was read.
func (s *sender) took(n int, err error) bool {
	s.mu.Lock()
	s.n += n
	s.ended = err == io.EOF
	s.mu.Unlock()
	if err == nil || err == io.EOF {
		return true
	}
	if clientErr, ok := errors.AsType[*l7.Error](err); errors.Is(err, l7.ErrStopped) {
		// Nobody wants the rest.
	} else if ok {
		s.fail(clientErr)
	} else {
		s.fail(internalError(err))
	}
	return false
}

func internalError(err error) *l7.Error {
	return &l7.Error{Status: http.StatusInternalServerError, Message: "An unexpected error occurred", Reason: l7.ReasonInternal, Side: l7.SideSelf, Err: err}
}

// fail lets the answer be waited for no more.
func (s *sender) fail(err *l7.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	s.broken.Store(true)
	if s.call != nil {
		s.call.Stop()
	}
}
