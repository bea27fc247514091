package testkit

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// defaultAnswer is what an upstream without a script answers.
const defaultAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// upstreamSilence bounds how long a connection of the scripted upstream waits.
const upstreamSilence = 30 * time.Second

// upstreamServer is a scripted upstream. It reads requests as they are, notes
// their bytes, and answers as the script says. Safe for concurrent use.
type upstreamServer struct {
	ln      net.Listener
	second  net.Listener // the same port of 127.0.0.2; nil: there is none
	tls     *tls.Config  // nil: plaintext
	answers [][]part
	stream  bool // what comes is not read as requests
	work    sync.WaitGroup

	mu     sync.Mutex
	run    int             // number of the run
	count  int             // requests of this run
	conn   int             // connections so far
	order  []*upstreamConn // that had bytes in this run
	conns  map[*upstreamConn]bool
	split  split // for the answers of this run
	closed bool
}

// upstreamConn is a connection to the upstream. What it captured in this run is
// guarded by the server's mu.
type upstreamConn struct {
	net.Conn
	server *upstreamServer
	tcp    *net.TCPConn
	number int    // in the order of acceptance
	buf    []byte // read and not consumed

	run      int
	captured []byte
}

func startUpstream(answers [][]part, stream bool, cfg *tls.Config) (*upstreamServer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &upstreamServer{ln: ln, tls: cfg, answers: answers, stream: stream, conns: make(map[*upstreamConn]bool), split: whole()}
	switch {
	case len(answers) > 0:
	case stream:
		u.answers = [][]part{{{action: actEcho}}}
	default:
		u.answers = [][]part{{{bytes: []byte(defaultAnswer), breaks: breaks([]byte(defaultAnswer))}}}
	}
	u.work.Go(func() { u.accept(u.ln) })
	return u, nil
}

// begin starts a run: the connections of the one before are closed, and what
// arrives from now on is captured anew.
func (u *upstreamServer) begin(sp split) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		c.tcp.Close()
	}
	u.run++
	u.count, u.order, u.split = 0, nil, sp
}

// captured returns what has arrived in this run, connection by connection.
func (u *upstreamServer) captured() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	texts := make([]string, len(u.order))
	for i, c := range u.order {
		texts[i] = render(c.captured)
	}
	return strings.Join(texts, "<next connection>\n")
}

func (u *upstreamServer) addr() string { return u.ln.Addr().String() }

// listenTwice opens the second listener.
func (u *upstreamServer) listenTwice() (addr string, err error) {
	addr = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), u.ln.Addr().(*net.TCPAddr).AddrPort().Port()).String()
	if u.second, err = net.Listen("tcp", addr); err == nil {
		u.work.Go(func() { u.accept(u.second) })
	}
	return addr, err
}

func (u *upstreamServer) close() {
	u.ln.Close()
	if u.second != nil {
		u.second.Close()
	}
	u.mu.Lock()
	u.closed = true
	for c := range u.conns {
		c.Close()
	}
	u.mu.Unlock()
	u.work.Wait()
}

func (u *upstreamServer) accept(ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		c := &upstreamConn{Conn: nc, server: u, tcp: nc.(*net.TCPConn)}
		if u.tls != nil {
			c.Conn = tls.Server(nc, u.tls)
		}
		u.mu.Lock()
		c.number = u.conn
		u.conn++
		u.conns[c] = true
		closed := u.closed
		u.mu.Unlock()
		if closed {
			nc.Close()
			continue
		}
		serve := c.serve
		if u.stream {
			serve = c.serveStream
		}
		u.work.Go(func() {
			serve()
			nc.Close()
			u.mu.Lock()
			delete(u.conns, c)
			u.mu.Unlock()
		})
	}
}

// next returns the parts of the answer to the next request.
func (u *upstreamServer) next() ([]part, split) {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := min(u.count, len(u.answers)-1)
	u.count++
	return u.answers[i], u.split
}

// note captures bytes that came on c.
func (c *upstreamConn) note(b []byte) {
	u := c.server
	u.mu.Lock()
	defer u.mu.Unlock()
	if c.run != u.run {
		c.run, c.captured = u.run, nil
	}
	if c.captured == nil && len(b) > 0 {
		i, _ := slices.BinarySearchFunc(u.order, c, func(a, b *upstreamConn) int { return a.number - b.number })
		u.order = slices.Insert(u.order, i, c)
	}
	c.captured = append(c.captured, b...)
}

// more reads further bytes into buf.
func (c *upstreamConn) more() error {
	_ = c.SetReadDeadline(time.Now().Add(upstreamSilence))
	c.buf = slices.Grow(c.buf, 2<<10)
	n, err := c.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// take notes and consumes the first n bytes of buf.
func (c *upstreamConn) take(n int) []byte {
	b := c.buf[:n]
	c.note(b)
	c.buf = c.buf[n:]
	return b
}

// cut notes that a message broke off; what there is of it is shown only if it
// is a head.
func (c *upstreamConn) cut(head bool) {
	if head {
		c.note(c.buf)
	}
	c.buf = nil
	c.note([]byte(cutMark))
}

// serve reads requests and answers them.
func (c *upstreamConn) serve() {
	for {
		head, ok := c.head()
		if !ok {
			return
		}
		parts, sp := c.server.next()
		early := len(parts) > 0 && parts[0].action == actEarly
		if early {
			parts = parts[1:]
		} else if !c.content(head) {
			return
		}
		goesOn := c.answer(parts, sp, early)
		if early && !c.content(head) || !goesOn {
			return
		}
	}
}

// head reads the head of a request.
func (c *upstreamConn) head() (head []byte, ok bool) {
	for {
		if i := bytes.Index(c.buf, []byte("\r\n\r\n")); i >= 0 {
			return c.take(i + 4), true
		}
		if err := c.more(); err != nil {
			if len(c.buf) > 0 {
				c.cut(true)
			}
			return nil, false
		}
	}
}

var lengthField = regexp.MustCompile(`(?i)\r\nContent-Length: *([0-9]+)\r\n`)

// content reads what the head announces.
func (c *upstreamConn) content(head []byte) (ok bool) {
	if chunkedField.Match(head) {
		return c.chunks()
	}
	m := lengthField.FindSubmatch(head)
	if m == nil {
		return true
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return false
	}
	for len(c.buf) < n {
		if c.more() != nil {
			c.cut(false)
			return false
		}
	}
	c.take(n)
	return true
}

func (c *upstreamConn) chunks() (ok bool) {
	for {
		content, trailer, n, done := dechunk(c.buf)
		if done {
			c.buf = c.buf[n:]
			c.note(appendOneChunk(nil, content, trailer))
			return true
		}
		if c.more() != nil {
			c.cut(false)
			return false
		}
	}
}

// answer does what the script says and reports whether the connection goes on.
func (c *upstreamConn) answer(parts []part, sp split, early bool) bool {
	for i := range parts {
		p := &parts[i]
		switch p.action {
		case "":
			if !send(c.Conn, sp.pieces(p)) {
				return false
			}
		case actHold:
			if !early {
				c.drain(false)
			}
			return false
		case actEcho:
			c.drain(true)
			return false
		default:
			if !act(c.Conn, c.tcp, p) {
				return false
			}
		}
	}
	return true
}

// drain notes what comes until the peer closes, and may send it back.
func (c *upstreamConn) drain(echo bool) {
	for {
		if len(c.buf) > 0 {
			b := c.take(len(c.buf))
			if echo && !send(c.Conn, [][]byte{b}) {
				return
			}
		}
		if c.more() != nil {
			return
		}
	}
}

// gap is what lies between two writes of a split message, so that the reader
// usually sees the first alone. Nothing depends on it.
const gap = 100 * time.Microsecond

// send writes pieces one by one.
func send(c net.Conn, pieces [][]byte) bool {
	for i, p := range pieces {
		if i > 0 {
			time.Sleep(gap)
		}
		if _, err := c.Write(p); err != nil {
			return false
		}
	}
	return true
}

// act does an action that both sides know and reports whether the connection
// goes on.
func act(c net.Conn, tcp *net.TCPConn, p *part) bool {
	switch p.action {
	case actWait:
		time.Sleep(p.wait)
		return true
	case actHalfClose:
		return closeWrite(c) == nil
	case actReset:
		_ = tcp.SetLinger(0)
		tcp.Close()
	case actClose:
		c.Close()
	}
	return false
}

func closeWrite(c net.Conn) error {
	h, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return h.CloseWrite()
}
