package h2

import (
	"bufio"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/upstream"
)

const (
	// callsPerConn bounds the calls on a connection, whatever the upstream allows,
	// and is what it is taken to allow before it has said so.
	callsPerConn = 100
	// callWindow is what an upstream may send of an answer that is not taken, in
	// bytes. A connection's own window is as much for every call it may have, so that
	// an answer nobody takes never holds another back.
	callWindow = 64 << 10
	connWindow = callsPerConn * callWindow
	// gatherMost is how much of requests is gathered before their senders wait, in
	// bytes, and answersMost what else an upstream can make us gather besides.
	gatherMost  = 64 << 10
	answersMost = 64 << 10
	// clientLook is how often a connection is looked at, at the least; the quarter of
	// the idle timeout if that is less.
	clientLook = 15 * time.Second
	// suspectFor is how long a connection may leave a PING unanswered.
	suspectFor = 15 * time.Second
	// suspectAfter is how long nothing was heard of a connection that is asked
	// whether it lives when a call on it is late.
	suspectAfter = time.Second
)

// clientConn is a connection to an upstream. Its reader, the goroutine of run,
// owns what is not guarded; it never writes, so that it never waits for an
// upstream that does not read. Whoever gathers something sends it, or leaves it
// to who is sending.
type clientConn struct {
	client   *Client
	group    *group
	nc       *upstream.Conn
	settings *ClientSettings

	in      *bufio.Reader // over Read
	framer  *http2.Framer
	decoder *hpack.Decoder
	head    answerHead
	woken   []*call // whose goroutines are to be woken before the reader waits

	mu        sync.Mutex
	err       error // why it has ended; nil: it has not
	calls     map[uint32]*call
	open      int // calls, also those that were sent nothing of yet
	most      int // calls that the upstream allows
	opened    int
	nextID    uint32
	settled   bool // the upstream's SETTINGS came
	away      bool // it takes no more calls
	lastTaken uint32
	resting   bool  // it has no call, and is counted as such
	idleSince int64 // sock.Now
	heard     int64 // sock.Now of the last bytes
	pinged    int64 // sock.Now since when a PING is unanswered; 0: none is

	window      int64 // what may be sent
	firstWindow int64 // of a call
	receive     int64 // what the upstream may still send
	untold      int   // what came and it is not told of yet
	shrunk      bool  // the next header block begins with a change of the table's size
	emptied     bool

	out, spare []byte // gathered; for gathering in while out is sent
	answers    int    // bytes of out that the upstream has made us gather
	unsent     uint32 // the lowest call whose head was not given to the socket
	writing    bool
}

func newClientConn(cl *Client, g *group, nc *upstream.Conn) *clientConn {
	now := sock.Now()
	c := &clientConn{
		client: cl, group: g, nc: nc, settings: cl.settings.Load(),
		calls: make(map[uint32]*call), most: callsPerConn, nextID: 1,
		idleSince: now, heard: now,
		window: defaultWindow, firstWindow: defaultWindow, receive: connWindow, lastTaken: 1<<31 - 1,
	}
	c.in = bufio.NewReaderSize(c, maxFrame)
	c.framer = http2.NewFramer(io.Discard, c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(maxFrame)
	c.decoder = hpack.NewDecoder(tableBytes, c.takeField)
	c.decoder.SetMaxStringLength(blockShare * c.settings.Limits.HeadBytes)
	b := append(make([]byte, 0, buf.Small), syntax.HTTP2Preface...)
	b = appendFrame(b, http2.FrameSettings, 0, 0, 3*6)
	b = appendSetting(b, http2.SettingEnablePush, 0)
	b = appendSetting(b, http2.SettingInitialWindowSize, callWindow)
	b = appendSetting(b, http2.SettingMaxHeaderListSize, uint32(c.settings.Limits.HeadBytes))
	c.out = appendWindow(b, 0, connWindow-defaultWindow)
	return c
}

// defaultWindow is every window's size before anybody changes it (RFC 9113
// section 6.9.2).
const defaultWindow = 1<<16 - 1

// room reports whether another call may begin. c.mu is held.
func (c *clientConn) room() bool {
	return c.err == nil && !c.away && c.pinged == 0 && c.open < min(c.most, callsPerConn)
}

func (c *clientConn) hasRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room()
}

// begin returns a call if the connection has room for it.
func (c *clientConn) begin() *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.room() {
		return nil
	}
	c.busy()
	c.open++
	if c.opened++; c.opened >= c.settings.Requests || c.opened >= 1<<30 {
		c.away = true // it ends with its last call
	}
	return newCall(c)
}

// run reads until the connection ends, also by a panic, which stops here.
func (c *clientConn) run() {
	defer c.client.forget(c)
	err := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

func (c *clientConn) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			c.client.metrics.Panics.Inc()
			c.client.log.Error("recovering from a panic in an upstream connection", "panic", v, "stack", string(debug.Stack()))
			err = errors.New("BUG: a panic in an upstream connection")
		}
	}()
	for {
		h, err := c.framer.ReadFrameHeader()
		var f http2.Frame
		if err == nil {
			f, err = c.framer.ReadFrameForHeader(h)
		}
		if err == nil {
			err = c.takeFrame(f)
		} else {
			err = c.badFrame(h.Type, err)
		}
		if err != nil {
			return err
		}
	}
}

// Read waits for bytes for the reader, who has acted on all there were. It looks
// after the connection meanwhile.
func (c *clientConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	c.wakeAll()
	c.flushAside()
	c.mu.Unlock()
	every := max(min(c.settings.IdleTimeout/4, clientLook), 10*time.Millisecond)
	for {
		c.nc.Socket().ArmRead(sock.Now(), every)
		n, err := c.nc.Read(p)
		now := sock.Now()
		c.mu.Lock()
		switch {
		case n > 0:
			c.heard, c.pinged = now, 0
			err = nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.look(now)
			err = nil
		case err == nil:
			err = io.ErrNoProgress
		}
		if c.err != nil {
			err = c.err
		}
		c.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
	}
}

var (
	errLeft   = errors.New("the connection is not needed any more")
	errSilent = errors.New("the upstream has not answered a PING")
)

// look ends the connection if there is a reason to, at once, so that no call
// begins on it. c.mu is held.
func (c *clientConn) look(now int64) {
	switch {
	case c.pinged != 0 && now-c.pinged >= int64(suspectFor):
		c.fail(errSilent)
	case c.open == 0 && now-c.idleSince >= int64(c.settings.IdleTimeout):
		c.fail(errLeft)
	}
}

// wakeAll wakes the goroutines for which something has come. c.mu is held.
func (c *clientConn) wakeAll() {
	for i, call := range c.woken {
		call.marked = false
		poke(call.readable)
		c.woken[i] = nil
	}
	c.woken = c.woken[:0]
}

// poke wakes who waits on ch, now or next.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// fail ends the connection, and with it every call that has no whole answer. What is
// still to be said to the upstream a goroutine of its own says.
// c.mu is held.
func (c *clientConn) fail(err error) {
	if c.err != nil {
		return
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // which io.EOF, the end of an answer, must not be taken for
	}
	c.err = err
	c.busy()
	for _, call := range c.calls {
		why := err
		if call.id >= c.unsent {
			why = l7.ErrUnprocessed
		}
		call.end(why)
	}
	c.wakeAll()
	last := c.lastWord()
	if last == nil {
		c.nc.Close()
		return
	}
	c.client.work.Go(func() {
		late := time.AfterFunc(lastWordTime, func() { c.nc.Close() }) // each write sets its own deadline
		_, _ = c.nc.Write(last)
		late.Stop()
		c.nc.Close()
	})
}

// lastWordTime bounds how long a GOAWAY may take to be sent.
const lastWordTime = 100 * time.Millisecond

// lastWord returns what is gathered and a GOAWAY, for the caller to send; nil if
// something is being sent, or if there is nothing to say. c.mu is held.
func (c *clientConn) lastWord() []byte {
	code := http2.ErrCodeNo
	if broken, ok := errors.AsType[*protocolFault](c.err); ok {
		code = broken.code
	} else if !errors.Is(c.err, errLeft) {
		return nil
	}
	if c.writing {
		return nil
	}
	last := appendGoAway(c.out, 0, code)
	c.out = nil
	return last
}

// protocolFault is an upstream that breaks the rules of the connection (RFC 9113
// section 5.4.1).
type protocolFault struct {
	code http2.ErrCode
	why  string
}

func (e *protocolFault) Error() string { return e.why }

func faulty(code http2.ErrCode, why string) error { return &protocolFault{code, why} }

// flush sends what is gathered, unless somebody does so already. c.mu is held,
// but not while it sends.
func (c *clientConn) flush() {
	if c.writing || len(c.out) == 0 || c.err != nil {
		return
	}
	c.writing = true
	c.send()
}

// flushAside is flush for the reader, on a goroutine of its own.
func (c *clientConn) flushAside() {
	if c.writing || len(c.out) == 0 || c.err != nil {
		return
	}
	c.writing = true
	c.client.work.Go(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.send()
	})
}

func (c *clientConn) send() {
	for len(c.out) > 0 && c.err == nil {
		b := c.out
		c.out, c.answers = c.spare[:0], 0
		c.unsent = c.nextID
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if c.spare = b[:0]; cap(b) > 2*gatherMost {
			c.spare = nil
		}
		if err != nil {
			c.fail(err)
		}
		c.pokeSenders()
	}
	c.writing = false
}

// pokeSenders lets those look again who wait for room or a window. c.mu is held.
func (c *clientConn) pokeSenders() {
	for _, call := range c.calls {
		if call.sending {
			poke(call.writable)
		}
	}
}

// left takes note that a call has ended. c.mu is held.
func (c *clientConn) left() {
	if c.open--; c.open > 0 {
		return
	}
	c.idleSince = sock.Now()
	if c.err != nil {
		return
	}
	if c.away || !c.mayIdle() {
		c.fail(errLeft)
	}
}

// mostIdleSecure bounds the idle TLS connections of all groups together. A group
// belongs to a server name, and where routes preserve the client's Host clients
// choose those, so a bound for each group is none.
const mostIdleSecure = 4096

// mayIdle counts the connection, which has no call, as idle, unless there are too
// many. c.mu is held.
func (c *clientConn) mayIdle() bool {
	c.resting = true
	many := int(c.group.idle.Add(1)) > c.client.settings.Load().Idle
	if c.nc.Secure() && c.client.idleSecure.Add(1) > mostIdleSecure {
		many = true
	}
	return !many // fail counts it out
}

// busy counts the connection as idle no more. c.mu is held.
func (c *clientConn) busy() {
	if !c.resting {
		return
	}
	c.resting = false
	c.group.idle.Add(-1)
	if c.nc.Secure() {
		c.client.idleSecure.Add(-1)
	}
}
