package h2

import (
	"errors"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// badFrame returns what a frame means that the framer refuses: nil if only a call
// has come to its end by it.
func (c *clientConn) badFrame(kind http2.FrameType, err error) error {
	var onStream http2.StreamError
	var onConn http2.ConnectionError
	switch {
	case errors.As(err, &onStream):
		// A header block cut short leaves the table's state unknown.
		if kind != http2.FrameWindowUpdate {
			return faulty(onStream.Code, err.Error())
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if call := c.calls[onStream.StreamID]; call != nil {
			c.refuse(call, onStream.Code, err.Error())
			return nil
		}
		return faulty(http2.ErrCodeProtocol, err.Error())
	case errors.As(err, &onConn):
		return faulty(http2.ErrCode(onConn), err.Error())
	case errors.Is(err, http2.ErrFrameTooLarge):
		return faulty(http2.ErrCodeFrameSize, err.Error())
	}
	return err
}

// takeFrame acts on a frame. It returns why the connection ends, or nil.
func (c *clientConn) takeFrame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.takeHeaders(f)
	case *http2.ContinuationFrame:
		return c.takeContinuation(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := f.(*http2.SettingsFrame); !c.settled && (!ok || s.IsAck()) {
		return faulty(http2.ErrCodeProtocol, "the first frame is not SETTINGS")
	}
	if c.answers > answersMost {
		return faulty(http2.ErrCodeEnhanceYourCalm, "the upstream does not read what it asks for")
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.RSTStreamFrame:
		return c.takeReset(f)
	case *http2.SettingsFrame:
		return c.takeSettings(f)
	case *http2.PingFrame:
		c.takePing(f)
	case *http2.GoAwayFrame:
		return c.takeGoAway(f)
	case *http2.PushPromiseFrame:
		return faulty(http2.ErrCodeProtocol, "PUSH_PROMISE, which we have switched off")
	}
	return nil // PRIORITY, and what nobody knows
}

// refuse ends a call whose answer breaks the rules. c.mu is held.
func (c *clientConn) refuse(call *call, code http2.ErrCode, why string) {
	call.reset(code)
	call.end(badAnswer(errors.New(why)))
}

// idle reports whether no call had that number yet. c.mu is held.
func (c *clientConn) idle(id uint32) bool { return id%2 == 0 || id >= c.nextID }

func (c *clientConn) takeData(f *http2.DataFrame) error {
	size := int(f.Length)
	if int64(size) > c.receive {
		return faulty(http2.ErrCodeFlowControl, "more content than the connection's window")
	}
	c.receive -= int64(size)
	if c.untold += size; c.untold >= connWindow/2 {
		c.answer(appendWindow(c.out, 0, c.untold))
		c.receive += int64(c.untold)
		c.untold = 0
	}
	call := c.calls[f.StreamID]
	if call == nil {
		if c.idle(f.StreamID) {
			return faulty(http2.ErrCodeProtocol, "DATA of a call that there is not")
		}
		return nil // we have reset it
	}
	if call.ended {
		return errOver
	}
	call.takeData(f.Data(), size, f.StreamEnded())
	return nil
}

// errOver is an answer that goes on behind its end (RFC 9113 section 5.1).
var errOver = faulty(http2.ErrCodeStreamClosed, "a frame behind the end of an answer")

// answer makes b, which begins with what is gathered, that. c.mu is held.
func (c *clientConn) answer(b []byte) {
	c.answers += len(b) - len(c.out)
	c.out = b
}

func (c *clientConn) takeWindow(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > mostWindow {
			return faulty(http2.ErrCodeFlowControl, "the connection's window is too large")
		}
		c.pokeSenders()
		return nil
	}
	call := c.calls[f.StreamID]
	switch {
	case call == nil:
		if c.idle(f.StreamID) {
			return faulty(http2.ErrCodeProtocol, "WINDOW_UPDATE of a call that there is not")
		}
	case call.window+int64(f.Increment) > mostWindow:
		c.refuse(call, http2.ErrCodeFlowControl, "a call's window is too large")
	default:
		call.window += int64(f.Increment)
		poke(call.writable)
	}
	return nil
}

func (c *clientConn) takeReset(f *http2.RSTStreamFrame) error {
	call := c.calls[f.StreamID]
	if call == nil {
		if c.idle(f.StreamID) {
			return faulty(http2.ErrCodeProtocol, "RST_STREAM of a call that there is not")
		}
		return nil
	}
	call.finished = true // nothing more is sent, no reset either
	if f.ErrCode == http2.ErrCodeRefusedStream && !call.began {
		call.end(l7.ErrUnprocessed)
		return nil
	}
	call.end(&resetError{f.ErrCode})
	return nil
}

// resetError is a call that the upstream has reset.
type resetError struct{ code http2.ErrCode }

func (e *resetError) Error() string { return "the upstream reset the stream: " + e.code.String() }

func (c *clientConn) takeSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if !c.settled {
		c.settled, c.most = true, callsPerConn
	}
	if f.NumSettings() > mostSettings {
		return faulty(http2.ErrCodeEnhanceYourCalm, "too many settings in a frame")
	}
	for i := range f.NumSettings() {
		s := f.Setting(i)
		if err := s.Valid(); err != nil {
			code := http2.ConnectionError(http2.ErrCodeProtocol)
			_ = errors.As(err, &code) // or that of any other fault
			return faulty(http2.ErrCode(code), "a setting has a value that it cannot have")
		}
		switch s.ID {
		case http2.SettingEnablePush:
			if s.Val != 0 {
				return faulty(http2.ErrCodeProtocol, "a server that switches push on") // RFC 9113 section 6.5.2
			}
		case http2.SettingMaxConcurrentStreams:
			c.most = int(min(s.Val, callsPerConn))
		case http2.SettingInitialWindowSize:
			if !c.setFirstWindow(int64(s.Val)) {
				return faulty(http2.ErrCodeFlowControl, "a call's window is too large")
			}
		case http2.SettingHeaderTableSize:
			// Our table is empty, which is to be said once if there might be less
			// room than there was (RFC 7541 section 4.2).
			if s.Val < tableBytes && !c.emptied {
				c.shrunk, c.emptied = true, true
			}
		}
	}
	c.answer(appendFrame(c.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0))
	return nil
}

// setFirstWindow changes the windows of all calls (RFC 9113 section 6.9.2).
func (c *clientConn) setFirstWindow(n int64) bool {
	more := n - c.firstWindow
	c.firstWindow = n
	for _, call := range c.calls {
		if call.window += more; call.window > mostWindow {
			return false
		}
	}
	c.pokeSenders()
	return true
}

func (c *clientConn) takePing(f *http2.PingFrame) {
	if !f.IsAck() {
		b := appendFrame(c.out, http2.FramePing, http2.FlagPingAck, 0, len(f.Data))
		c.answer(append(b, f.Data[:]...))
	}
}

// suspect asks a connection that has been silent whether it lives, and gives it
// no calls until it says something. c.mu is held.
func (c *clientConn) suspect() {
	now := sock.Now()
	if c.pinged == 0 && c.err == nil && now-c.heard >= int64(suspectAfter) {
		c.pinged = now
		c.out = append(appendFrame(c.out, http2.FramePing, 0, 0, 8), "bulwark."...)
	}
}

// takeGoAway lets what the upstream has not taken be asked elsewhere; the rest
// goes on (RFC 9113 section 6.8).
func (c *clientConn) takeGoAway(f *http2.GoAwayFrame) error {
	if f.LastStreamID > c.lastTaken {
		return faulty(http2.ErrCodeProtocol, "a GOAWAY that takes more calls than the one before")
	}
	c.away, c.lastTaken = true, f.LastStreamID
	for _, call := range c.calls {
		if call.id > f.LastStreamID {
			call.finished = true
			call.end(l7.ErrUnprocessed)
		}
	}
	if c.open == 0 {
		return errLeft
	}
	return nil
}
