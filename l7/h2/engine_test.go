package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// site serves exchanges by a function and counts its uses.
type site struct {
	settings Settings
	serve    func(x *l7.Exchange)
	users    atomic.Int64
	served   atomic.Int64
	rejected atomic.Pointer[l7.Error]
	look     func(x *l7.Exchange, err *l7.Error) // at what is rejected; may be nil
}

var _ Site = (*site)(nil)

func (s *site) Serve(x *l7.Exchange) {
	s.served.Add(1)
	s.serve(x)
}

func (s *site) Reject(x *l7.Exchange, err *l7.Error) {
	s.rejected.Store(err)
	if s.look != nil {
		s.look(x, err)
	}
	if err.Status == l7.StatusClientGone {
		x.Wire.Abort(err.Reason)
		return
	}
	answer(x, err.Status, err.Message)
}
func (s *site) HTTP2() *Settings { return &s.settings }
func (s *site) Current() bool    { return true }
func (s *site) Release()         { s.users.Add(-1) }

// answer writes a whole answer with an announced length.
func answer(x *l7.Exchange, status int, content string) {
	_ = x.Wire.WriteHead(status, new(l7.Header), int64(len(content)))
	_, _ = io.WriteString(x.Wire, content)
	_ = x.Wire.Finish(nil)
}

// echo answers with what the request says and holds.
func echo(x *l7.Exchange) {
	text := x.Req.Method + " " + x.Req.Target
	if x.Req.Body != nil {
		content, err := io.ReadAll(x.Req.Body)
		if err != nil {
			e, ok := errors.AsType[*l7.Error](err)
			if !ok || e.Status == l7.StatusClientGone {
				x.Wire.Abort(l7.ReasonClientGone)
				return
			}
			answer(x, e.Status, e.Message)
			return
		}
		text += fmt.Sprintf(" %q", content)
		for _, f := range x.Req.Body.Trailer().Fields() {
			text += " " + f.Name + "=" + f.Value
		}
	}
	answer(x, http.StatusOK, text)
}

// engine is a server with one connection under test, and its client.
type engine struct {
	*site
	t       testing.TB
	metrics *telemetry.Metrics
	log     *logged
	flooded atomic.Int64
	client  *net.TCPConn
	conn    *l4.Conn
	server  *Server
	done    chan struct{} // closed when the connection is served

	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	dec   *hpack.Decoder
}

type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// connect serves one connection by serve; change may change its settings.
func connect(t testing.TB, serve func(x *l7.Exchange), change func(s *Settings)) *engine {
	t.Helper()
	return connectOver(t, serve, change, func(c net.Conn) net.Conn { return c })
}

// connectOver is connect with a layer between the engine and the socket.
func connectOver(t testing.TB, serve func(x *l7.Exchange), change func(s *Settings), layer func(net.Conn) net.Conn) *engine {
	t.Helper()
	e := &engine{
		t: t, log: new(logged), done: make(chan struct{}),
		metrics: telemetry.NewMetrics(telemetry.Options{Reasons: l7.ReasonNames(), HTTP2Glitches: GlitchNames()}),
	}
	e.site = &site{serve: serve, settings: Settings{
		Limits:        syntax.Limits{HeadBytes: 16 << 10, TargetBytes: 8 << 10, Fields: 100, TrailerBytes: 8 << 10},
		HeaderTimeout: patience, IdleTimeout: patience, ReadTimeout: patience, WriteTimeout: patience,
		Requests: 1000, Streams: 100, StreamWindow: 128 << 10, Window: 512 << 10, Unread: 64 << 20, Glitches: 500,
	}}
	if change != nil {
		change(&e.settings)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	e.client = client.(*net.TCPConn)
	_ = e.client.SetDeadline(time.Now().Add(patience))
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := sock.New(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	peer, local := nc.RemoteAddr().(*net.TCPAddr), nc.LocalAddr().(*net.TCPAddr)
	e.conn = l4.NewConn(s, l4.NewInfo("web", peer.AddrPort(), local.AddrPort()))
	e.conn.Conn = layer(s)
	server := &Server{
		Acquire: func(string) Site { e.users.Add(1); return e.site },
		Metrics: e.metrics,
		Log:     slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Flooded: func(netip.Addr) { e.flooded.Add(1) },
	}
	e.server = server
	go func() {
		defer close(e.done)
		server.ServeConn(e.conn, nil)
	}()
	t.Cleanup(e.finish)
	e.fr = http2.NewFramer(e.client, e.client)
	e.fr.AllowIllegalWrites, e.fr.AllowIllegalReads = true, true
	e.enc = newEncoder(&e.block)
	e.dec = hpack.NewDecoder(4096, nil)
	return e
}

// finish ends the connection and looks at what is left of it.
func (e *engine) finish() {
	e.client.Close()
	select {
	case <-e.done:
	case <-time.After(patience):
		e.t.Error("the connection is served on")
		return
	}
	if n := e.users.Load(); n != 0 {
		e.t.Errorf("the site is held %d times after the connection", n)
	}
	if n := e.metrics.Listener("web").Waiting.Load(); n != 0 {
		e.t.Errorf("%d connections count as waiting", n)
	}
}

// start is connect and the beginning of the connection, up to both sides'
// SETTINGS.
func start(t testing.TB, serve func(x *l7.Exchange), change func(s *Settings), settings ...http2.Setting) *engine {
	t.Helper()
	e := connect(t, serve, change)
	e.send(syntax.HTTP2Preface)
	e.check(e.fr.WriteSettings(settings...))
	e.want("SETTINGS", fmt.Sprintf("WINDOW_UPDATE 0 %d", e.settings.Window-65535), "SETTINGS ACK")
	return e
}

func (e *engine) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *engine) send(text string) {
	e.t.Helper()
	_, err := io.WriteString(e.client, text)
	e.check(err)
}

// fields encodes a header list, given as names and values.
func (e *engine) fields(list ...string) []byte {
	e.block.Reset()
	for i := 0; i+1 < len(list); i += 2 {
		_ = e.enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
	}
	return bytes.Clone(e.block.Bytes())
}

// headers sends a header list.
func (e *engine) headers(id uint32, end bool, list ...string) {
	e.t.Helper()
	e.check(e.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: e.fields(list...), EndStream: end, EndHeaders: true}))
}

func get(path string, more ...string) []string { return request("GET", path, more...) }

func request(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "a.test", ":path", path}, more...)
}

// next reads a frame and tells it in a line.
func (e *engine) next() string {
	f, err := e.fr.ReadFrame()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	case err != nil:
		return "closed"
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		list, err := e.dec.DecodeFull(f.HeaderBlockFragment())
		text := fmt.Sprintf("HEADERS %d", f.StreamID)
		for _, h := range list {
			text += " " + h.Name + "=" + h.Value
		}
		if err != nil {
			text += " " + err.Error()
		}
		return text + ended(f.StreamEnded())
	case *http2.DataFrame:
		return fmt.Sprintf("DATA %d %q", f.StreamID, f.Data()) + ended(f.StreamEnded())
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %s", f.LastStreamID, f.ErrCode)
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", f.StreamID, f.Increment)
	case *http2.SettingsFrame:
		if f.IsAck() {
			return "SETTINGS ACK"
		}
		return "SETTINGS"
	case *http2.PingFrame:
		return fmt.Sprintf("PING %v %s", f.IsAck(), f.Data[:4])
	}
	return f.Header().String()
}

func ended(end bool) string {
	if end {
		return " END"
	}
	return ""
}

// want compares the next frames.
func (e *engine) want(lines ...string) {
	e.t.Helper()
	for i, line := range lines {
		if got := e.next(); got != line {
			e.t.Fatalf("frame %d is %q, want %q; the log says\n%s", i, got, line, e.log)
		}
	}
}

// alive checks that nothing comes but the answer to a PING.
func (e *engine) alive() {
	e.t.Helper()
	e.check(e.fr.WritePing(false, [8]byte{'l', 'i', 'v', 'e'}))
	e.want("PING true live")
}

// ok is the answer of echo.
func ok(id int, text string) []string {
	return []string{
		fmt.Sprintf("HEADERS %d :status=200 content-length=%d", id, len(text)),
		fmt.Sprintf("DATA %d %q END", id, text),
	}
}

// glitches returns how many of a kind were counted.
func (e *engine) glitches(kind glitch) uint64 { return e.metrics.HTTP2Glitches.Load(int(kind)) }

// roundTrip sends content by another client and compares what comes back.
func roundTrip(client *http.Transport, content []byte) error {
	req, err := http.NewRequest(http.MethodPost, "http://a.test/", bytes.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := client.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && !bytes.Equal(got, content) {
		err = fmt.Errorf("%d bytes came back", len(got))
	}
	return err
}

func newEncoder(to *bytes.Buffer) *hpack.Encoder { return hpack.NewEncoder(to) }
