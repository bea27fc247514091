package h2

import (
	"errors"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// takeFrames takes what has come whole off the input. It reports false when the
// connection ends.
func (c *conn) takeFrames() bool {
	if c.greeted < len(syntax.HTTP2Preface) && !c.takePreface() {
		return false
	}
	for c.greeted == len(syntax.HTTP2Preface) {
		have := c.to - c.from
		if have < frameHead {
			break
		}
		h := c.block.B[c.from:]
		size := frameHead + (int(h[0])<<16 | int(h[1])<<8 | int(h[2]))
		if size > frameHead+maxFrame {
			c.fault(http2.ErrCodeFrameSize, "a frame is too large")
			return false
		}
		if have < size {
			c.makeSpace(size)
			break
		}
		frame := c.block.B[c.from : c.from+size]
		c.from += size
		if !c.head.open {
			c.partial = c.heard // of the next frame
		}
		if !c.takeFrame(frame) {
			return false
		}
	}
	c.compact()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.control > mostControl {
		c.server.Metrics.Terminations.Inc(int(l7.ReasonHTTP2Flood))
		c.end(http2.ErrCodeEnhanceYourCalm, "the client does not read what it asks for")
		return false
	}
	if !c.gathering && c.running == 0 || c.due {
		c.flushAside()
	}
	return c.err == nil
}

// takePreface checks the preface as far as it has come.
func (c *conn) takePreface() bool {
	n := min(c.to-c.from, len(syntax.HTTP2Preface)-c.greeted)
	if n > 0 && string(c.block.B[c.from:c.from+n]) != syntax.HTTP2Preface[c.greeted:c.greeted+n] {
		c.fault(http2.ErrCodeProtocol, "the preface is wrong")
		return false
	}
	c.greeted += n
	c.from += n
	return true
}

// makeSpace makes room for a frame of the given size at c.from.
func (c *conn) makeSpace(size int) {
	if c.from+size <= len(c.block.B) {
		return
	}
	c.to = copy(c.block.B, c.block.B[c.from:c.to])
	c.from = 0
	if size > len(c.block.B) {
		c.block = c.block.Grow(c.to, size)
	}
}

// compact moves what is left of the input to the beginning, where it must move
// to be followed by more.
func (c *conn) compact() {
	switch {
	case c.from == c.to:
		c.from, c.to = 0, 0
		if !c.head.open {
			c.partial = 0
		}
	case len(c.block.B)-c.to < buf.Tiny:
		c.to = copy(c.block.B, c.block.B[c.from:c.to])
		c.from = 0
	}
}

// fault ends the connection for the client's fault (RFC 9113 section 5.4.1).
func (c *conn) fault(code http2.ErrCode, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faultLocked(code, why)
}

func (c *conn) faultLocked(code http2.ErrCode, why string) {
	if c.err == nil {
		c.server.Metrics.Terminations.Inc(int(l7.ReasonBadRequest))
	}
	c.end(code, why)
}

// takeFrame acts on one frame. It reports false when the connection ends.
func (c *conn) takeFrame(b []byte) bool {
	if c.parser == nil {
		c.parser = parsers.Get().(*parser)
	}
	f, err := c.parser.parse(b)
	if err != nil {
		c.parser = nil // it is not known what it waits for
		c.badFrame(b, err)
		return c.alive()
	}
	if !c.settled {
		if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
			c.fault(http2.ErrCodeProtocol, "the first frame is not SETTINGS")
			return false
		}
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.takeHeaders(f)
	case *http2.ContinuationFrame:
		return c.takeContinuation(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := f.(type) {
	case *http2.DataFrame:
		c.takeDataFrame(f)
	case *http2.WindowUpdateFrame:
		c.takeWindow(f)
	case *http2.RSTStreamFrame:
		c.takeReset(f)
	case *http2.SettingsFrame:
		c.takeSettings(f)
	case *http2.PingFrame:
		c.takePing(f)
	case *http2.PriorityFrame:
		c.takePriority(f)
	case *http2.PriorityUpdateFrame:
		c.takePriorityUpdate(f)
	case *http2.GoAwayFrame:
		c.glitch(glitchUnknown) // what is under way is served; the client closes
	case *http2.PushPromiseFrame:
		c.faultLocked(http2.ErrCodeProtocol, "PUSH_PROMISE from a client")
	default:
		c.glitch(glitchUnknown)
	}
	return c.err == nil
}

func (c *conn) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil
}

// badFrame acts on a frame that the framer refuses.
func (c *conn) badFrame(b []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var onStream http2.StreamError
	var onConn http2.ConnectionError
	switch {
	case errors.As(err, &onStream):
		// HEADERS whose padding or priority is cut short leave the block's state
		// unknown; a WINDOW_UPDATE by nothing does not.
		if http2.FrameType(b[3]) != http2.FrameWindowUpdate {
			c.faultLocked(onStream.Code, err.Error())
			return
		}
		if st := c.find(onStream.StreamID); st != nil {
			c.resetStream(st, onStream.Code)
		} else if onStream.StreamID > c.lastID {
			c.faultLocked(http2.ErrCodeProtocol, err.Error())
		} else {
			c.glitch(glitchStream)
		}
	case errors.As(err, &onConn):
		c.faultLocked(http2.ErrCode(onConn), err.Error())
	default: // a frame too short for what its flags promise
		c.faultLocked(http2.ErrCodeFrameSize, err.Error())
	}
}

func (c *conn) takeDataFrame(f *http2.DataFrame) {
	size := int(f.Length)
	if int64(size) > c.receive {
		c.faultLocked(http2.ErrCodeFlowControl, "more content than the connection's window")
		return
	}
	c.receive -= int64(size)
	end := f.StreamEnded()
	if len(f.Data()) == 0 && !end {
		c.glitch(glitchEmpty)
	}
	st := c.find(f.StreamID)
	if st != nil && (!st.reset || st.resetByUs) {
		st.takeData(f.Data(), size, end)
		return
	}
	c.returnWindow(size)
	switch {
	case st != nil: // the client has reset it, and sends on (RFC 9113 section 5.1)
		c.glitch(glitchStream)
		c.tellReset(f.StreamID, http2.ErrCodeStreamClosed)
	case f.StreamID > c.lastID:
		c.faultLocked(http2.ErrCodeProtocol, "DATA on a stream that is not open")
	case c.closed.find(f.StreamID) != closedByUs:
		c.glitch(glitchStream)
		c.tellReset(f.StreamID, http2.ErrCodeStreamClosed)
	}
}

// tellReset answers a frame for a stream that is closed. c.mu is held.
func (c *conn) tellReset(id uint32, code http2.ErrCode) {
	if c.err == nil {
		c.setGathered(appendReset(c.gathered(), id, code))
		c.control += frameHead + 4
		c.due = true
	}
}

func (c *conn) takeWindow(f *http2.WindowUpdateFrame) {
	c.spend(glitchWindow)
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > mostWindow {
			c.faultLocked(http2.ErrCodeFlowControl, "the connection's window is too large")
		}
		if c.window >= leastPiece {
			c.shut = 0
		}
		c.wakeNext()
		return
	}
	st := c.find(f.StreamID)
	switch {
	case st == nil:
		if f.StreamID > c.lastID {
			c.faultLocked(http2.ErrCodeProtocol, "WINDOW_UPDATE on a stream that is not open")
		} else if c.closed.find(f.StreamID) == closedByReset {
			c.glitch(glitchStream)
			c.tellReset(f.StreamID, http2.ErrCodeStreamClosed)
		}
		return
	case st.reset && !st.resetByUs: // by the client, which sends on (RFC 9113 section 5.1)
		c.glitch(glitchStream)
		c.tellReset(f.StreamID, http2.ErrCodeStreamClosed)
		return
	case st.window+int64(f.Increment) > mostWindow:
		c.resetStream(st, http2.ErrCodeFlowControl)
	default:
		st.widen(int64(f.Increment))
	}
	c.wakeNext()
}

func (c *conn) takeReset(f *http2.RSTStreamFrame) {
	st := c.find(f.StreamID)
	if st == nil {
		if f.StreamID > c.lastID {
			c.faultLocked(http2.ErrCodeProtocol, "RST_STREAM on a stream that is not open")
		} else {
			c.glitch(glitchReset)
		}
		return
	}
	c.glitch(glitchReset)
	if c.err != nil {
		return
	}
	st.reset, st.finished = true, true
	st.settle()
	st.stop(errReset)
	c.dropUnserved(st)
}

// mostSettings is how many settings a frame may hold. There are eight that
// anybody knows.
const mostSettings = 32

func (c *conn) takeSettings(f *http2.SettingsFrame) {
	if f.IsAck() {
		return
	}
	if c.settled {
		c.glitch(glitchSettings)
	}
	c.settled = true
	if f.NumSettings() > mostSettings {
		c.end(http2.ErrCodeEnhanceYourCalm, "too many settings in a frame")
		return
	}
	window := c.firstWindow
	for i := range f.NumSettings() {
		s := f.Setting(i)
		if err := s.Valid(); err != nil {
			var code http2.ConnectionError
			if !errors.As(err, &code) {
				code = http2.ConnectionError(http2.ErrCodeProtocol)
			}
			c.faultLocked(http2.ErrCode(code), "a setting has a value that it cannot have")
			return
		}
		if s.ID == http2.SettingInitialWindowSize {
			window = int64(s.Val)
		}
		if s.ID == http2.SettingHeaderTableSize && s.Val < firstTable && !c.emptied {
			c.shrunk, c.emptied = true, true
		}
	}
	if window != c.firstWindow && !c.setFirstWindow(window) {
		c.faultLocked(http2.ErrCodeFlowControl, "a stream's window is too large")
		return
	}
	if c.err == nil {
		c.setGathered(appendFrame(c.gathered(), http2.FrameSettings, http2.FlagSettingsAck, 0, 0))
		c.control += frameHead
		c.due = true
	}
}

// setFirstWindow changes the windows of all streams (RFC 9113 section 6.9.2).
func (c *conn) setFirstWindow(n int64) bool {
	more := n - c.firstWindow
	c.firstWindow = n
	for _, st := range c.streams {
		if st.widen(more); st.window > mostWindow {
			return false
		}
	}
	c.wakeNext()
	return true
}

func (c *conn) takePing(f *http2.PingFrame) {
	if f.IsAck() {
		c.glitch(glitchPing) // we have sent none
		return
	}
	c.spend(glitchPing) // gRPC measures the way by one for each round of content
	if c.err == nil {
		b := appendFrame(c.gathered(), http2.FramePing, http2.FlagPingAck, 0, len(f.Data))
		c.setGathered(append(b, f.Data[:]...))
		c.control += frameHead + len(f.Data)
		c.due = true
	}
}

// takePriority holds a frame of the old scheme, which is of no meaning any more,
// against its rules.
func (c *conn) takePriority(f *http2.PriorityFrame) {
	c.spend(glitchPriority)
	if f.StreamDep != f.StreamID {
		return
	}
	if st := c.find(f.StreamID); st != nil {
		c.resetStream(st, http2.ErrCodeProtocol)
		return
	}
	c.faultLocked(http2.ErrCodeProtocol, "a stream that depends on itself")
}

func (c *conn) takePriorityUpdate(f *http2.PriorityUpdateFrame) {
	c.spend(glitchPriority)
	c.aware = true
	if st := c.find(f.PrioritizedStreamID); st != nil {
		st.urgency, st.incremental = parsePriority(f.Priority)
		c.wakeNext()
	}
}
