package h2

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
)

const (
	// firstWait is how long a connection without a stream keeps what it needs
	// for the next one: its workers, its block, its hold of a site.
	firstWait = time.Second
	// longestLook is the time between two looks at what may take too long.
	longestLook = time.Second
	// drainGrace is how long a connection that drains still takes streams, which
	// may be on their way when it says that it will not.
	drainGrace = 250 * time.Millisecond
	// closeTime bounds the last write on a connection, and lingerTime and
	// lingerBytes what is still read after it, so that it is not lost in a reset.
	closeTime   = time.Second
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// conn is a client's connection.
type conn struct {
	*l4.Conn
	server   *Server
	socket   *sock.Conn
	count    *telemetry.Listener
	settings *Settings // that it began with

	// Owned by the reader.
	block    *buf.Block // what is read and not yet taken: block.B[from:to]
	from, to int
	parser   *parser // nil while the connection waits
	head     headReader
	greeted  int   // bytes of the preface that came
	settled  bool  // the client's first SETTINGS came
	began    int64 // sock.Now when the connection was taken over
	heard    int64 // sock.Now when bytes came last
	partial  int64 // sock.Now since when a frame, or a header block, is incomplete; 0: none is
	nextLook int64
	slack    time.Duration // by which it may be late
	resting  bool          // the connection counts as waiting
	drained  int64
	glitches glitches
	lastID   uint32 // of the streams that were opened; others read it under mu

	wanted  atomic.Bool // the reader is to look
	workers sync.WaitGroup

	// mu is taken for moments only: never while anything is waited for but a
	// stream's own conditions, which give it up.
	mu        sync.Mutex
	err       error     // why nothing is sent or received any more; nil: it is
	streams   []*stream // that are open or being served, by their ids
	free      []*stream
	queue     []*stream // that wait for a worker
	idle      []*worker
	running   int   // streams that a worker has
	open      int   // streams that count towards Settings.Streams
	idleSince int64 // sock.Now when the last stream ended
	requests  int
	site      *held // the newest; nil: none is held
	closed    closedRing

	// What the client is told and grants.
	out         *buf.Block // gathered: out.B[:n]
	n           int
	due         bool // it is to be sent
	writing     bool // somebody is sending
	written     sync.Cond
	shrunk      bool // the next header block is to empty HPACK's table
	emptied     bool // one has
	gathering   bool // somebody will, as soon as others had their turn
	control     int  // bytes of answers to the client's own frames in out
	window      int64
	firstWindow int64     // of a new stream
	sent        int       // bytes of content that earned no credit yet
	frameCredit int       // WINDOW_UPDATE frames that are no glitch
	aware       bool      // the client has told a priority
	waiting     []*stream // to send
	shut        int64     // sock.Now since when the connection's window lets through too little; 0: it does not
	trickled    int       // bytes it has let through since
	tickets     uint64
	away        awayState
	lastTaken   uint32 // the last stream, once GOAWAY has named it

	// What the client may send.
	receive  int64 // bytes of content that it may still send
	taken    int   // bytes of content that were taken and not yet told
	unread   int   // bytes of content that were not taken
	advanced int   // bytes of them that it may send again already, from the server's budget
}

type awayState uint8

const (
	here     awayState = iota
	leaving            // GOAWAY was sent, for streams that are not on their way yet
	awayFrom           // GOAWAY has named the last stream
)

// held is a site that streams use. Its count is guarded by conn.mu.
type held struct {
	Site
	settings *Settings
	users    int
}

func newConn(s *Server, c *l4.Conn, input []byte) *conn {
	k := &conn{Conn: c, server: s, socket: c.Socket(), count: s.Metrics.Listener(c.Listener)}
	site := s.Acquire(c.Listener)
	k.settings = site.HTTP2()
	site.Release()
	k.head.c, k.written.L = k, &k.mu
	k.window, k.firstWindow, k.receive = firstWindow, firstWindow, int64(k.settings.Window)
	k.began = sock.Now()
	k.heard, k.idleSince = k.began, k.began
	k.frameCredit = frameCreditBase
	k.glitches.begin(k.settings.Glitches, k.began)
	if len(input) > 0 {
		k.block = buf.Get(max(len(input), buf.Medium))
		k.to = copy(k.block.B, input)
		k.partial = k.began
	}
	return k
}

// serve reads until either side ends the connection.
func (c *conn) serve() {
	c.socket.SetWriteTimeout(c.settings.WriteTimeout)
	c.Idle(true) // a drain wakes the reader at any time
	c.greet()
	if weak(c.TLS) {
		c.fault(http2.ErrCodeInadequateSecurity, "a suite of TLS 1.2 that HTTP/2 must not be spoken over")
		return
	}
	for c.takeFrames() && c.more() {
	}
}

// weak reports whether HTTP/2 must not be spoken over the connection (RFC 9113
// section 9.2.2). Of the suites that a policy can allow those with CBC are such.
func weak(t *l4.TLS) bool { return t != nil && strings.Contains(t.Cipher, "_CBC_") }

// greet says what the client may do. A window larger than the first one is told
// too.
func (c *conn) greet() {
	s := c.settings
	c.mu.Lock()
	defer c.mu.Unlock()
	b := appendFrame(c.gathered(), http2.FrameSettings, 0, 0, 5*6)
	b = appendSetting(b, http2.SettingMaxConcurrentStreams, uint32(s.Streams))
	b = appendSetting(b, http2.SettingInitialWindowSize, uint32(s.StreamWindow))
	b = appendSetting(b, http2.SettingMaxHeaderListSize, uint32(s.Limits.HeadBytes))
	b = appendSetting(b, http2.SettingEnableConnectProtocol, 1)
	b = appendSetting(b, http2.SettingNoRFC7540Priorities, 1)
	if more := s.Window - firstWindow; more > 0 {
		b = appendWindow(b, 0, more)
	}
	c.setGathered(b)
	c.due = true
	c.flush()
}

// more waits for further bytes, and meanwhile for whatever else the reader is
// to see to. It reports false when the connection ends.
func (c *conn) more() bool {
	for {
		now := sock.Now()
		if now >= c.nextLook || c.wanted.Load() || c.Draining() && c.drained == 0 {
			if !c.look(now) {
				return false
			}
		}
		c.socket.ArmReadWithin(now, time.Duration(c.nextLook-now), time.Duration(c.nextLook-now)+c.slack)
		if c.wanted.Load() || c.Draining() && c.drained == 0 {
			continue
		}
		n, err := c.read()
		if n > 0 {
			c.to += n
			c.heard = sock.Now()
			if c.partial == 0 {
				c.partial = c.heard
			}
			return true
		}
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		_ = c.socket.SetReadDeadline(time.Time{}) // so that the next one is armed, whatever was before
		c.nextLook = 0
	}
}

// read reads what has come. A connection that waits for its next stream waits
// without a block.
func (c *conn) read() (n int, err error) {
	if c.resting {
		if n, err = c.readResting(); n > 0 || err != nil {
			return n, err
		}
		c.wake()
	}
	if c.block == nil {
		c.block = buf.Get(buf.Medium)
	}
	return c.Conn.Read(c.block.B[c.to:])
}

// readResting waits until there is something to read. It asks the connection
// before the socket: TLS may hold a record that came along with the one before,
// of which the socket knows nothing any more.
func (c *conn) readResting() (n int, err error) {
	c.socket.SetNoWait(true)
	defer c.socket.SetNoWait(false)
	c.block = buf.Get(buf.Medium)
	n, err = c.Conn.Read(c.block.B)
	if n > 0 {
		c.wake()
		return n, nil
	}
	c.block.Put()
	c.block = nil
	if errors.Is(err, sock.ErrWouldBlock) {
		return 0, c.socket.AwaitRead()
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return 0, err
}

// rest gives back what a connection without streams needs no more.
func (c *conn) rest() {
	c.resting = true
	c.count.Waiting.Inc()
	c.block.Put()
	c.block, c.from, c.to = nil, 0, 0
	c.dropParser()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dismiss()
	c.dropSite()
	c.free = nil
}

// dropParser gives the parser back, unless it is within a header block.
func (c *conn) dropParser() {
	if c.parser != nil && !c.head.open {
		c.parser.put()
	}
	c.parser = nil
}

func (c *conn) wake() {
	if c.resting {
		c.resting = false
		c.nextLook = 0
		c.count.Waiting.Dec()
	}
}

// dropSite gives up the hold that is not a stream's. c.mu is held.
func (c *conn) dropSite() {
	if c.site != nil {
		c.site.release()
		c.site = nil
	}
}

func (h *held) release() {
	if h.users--; h.users == 0 {
		h.Site.Release()
	}
}

// currentSite returns the site for a new stream, which it counts in. c.mu is
// held.
func (c *conn) currentSite() *held {
	if c.site == nil || !c.site.Current() {
		c.dropSite()
		site := c.server.Acquire(c.Listener)
		c.site = &held{Site: site, settings: site.HTTP2(), users: 1}
	}
	c.site.users++
	return c.site
}

// close ends the connection: what is gathered is sent, workers are waited for,
// and what the client still sends is read for a while.
func (c *conn) close() {
	if v := recover(); v != nil {
		c.countPanic(v)
	}
	c.wake()
	c.mu.Lock()
	_ = c.socket.TCPConn.SetWriteDeadline(time.Now().Add(closeTime)) // for one that is sending too
	said := c.err == nil || errors.Is(c.err, errEnded)
	c.fail(errEnded) // nobody begins to send any more
	if said {
		c.lastWords()
	}
	c.dismiss()
	c.mu.Unlock()
	if said && c.CloseWrite() == nil {
		c.linger()
	}
	c.workers.Wait()
	c.mu.Lock()
	c.dropSite()
	c.out.Put()
	c.out = nil
	c.mu.Unlock()
	c.head.drop()
	c.dropParser()
	c.block.Put()
	_ = c.Conn.Close()
}

// countPanic takes note of a panic that was recovered from.
func (c *conn) countPanic(v any) {
	c.server.Metrics.Panics.Inc()
	c.server.Log.Error("recovering from a panic in a connection", "listener", c.Listener, "panic", v, "stack", string(debug.Stack()))
}

// survive is deferred by the connection's other goroutines: a panic in one ends
// the connection, not the process.
func (c *conn) survive() {
	if v := recover(); v != nil {
		c.countPanic(v)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.fail(errEnded)
		c.want()
	}
}

// lastWords sends what is gathered, once nobody else is sending. c.mu is held,
// but not while it waits.
func (c *conn) lastWords() {
	c.awaitWriter()
	c.socket.SetWriteTimeout(0) // nobody else writes any more
	_ = c.socket.SetWriteDeadline(time.Now().Add(closeTime))
	if c.n > 0 {
		_ = c.send()
	}
}

// awaitWriter waits until nobody else is sending, for closeTime or little more:
// one that was about to send arms its own deadline, which is later. c.mu is held,
// but not while it waits.
func (c *conn) awaitWriter() {
	if !c.writing {
		return
	}
	over := false
	var late *time.Timer
	late = time.AfterFunc(closeTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !over {
			_ = c.socket.TCPConn.SetWriteDeadline(time.Now())
			late.Reset(closeTime / 10)
		}
	})
	for c.writing {
		c.written.Wait()
	}
	over = true
	late.Stop()
}

// linger reads the client's direction for a while.
func (c *conn) linger() {
	_ = c.socket.SetReadDeadline(time.Now().Add(lingerTime))
	if c.block == nil {
		c.block = buf.Get(buf.Small)
	}
	for total := 0; total < lingerBytes; {
		n, err := c.Conn.Read(c.block.B)
		if err != nil {
			return
		}
		total += n
	}
}

// explain logs why a connection is ended.
func (c *conn) explain(why string) {
	c.server.Log.Debug("ending a connection of HTTP/2", slog.String("listener", c.Listener), slog.String("client", c.ClientIP), slog.String("error", why))
}
