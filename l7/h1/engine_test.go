package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// site serves exchanges by a function and counts its uses.
type site struct {
	settings Settings
	serve    func(x *l7.Exchange)
	users    atomic.Int64
	rejected atomic.Pointer[l7.Error]
}

var _ Site = (*site)(nil)

func (s *site) Serve(x *l7.Exchange) { s.serve(x) }

func (s *site) Reject(x *l7.Exchange, err *l7.Error) {
	s.rejected.Store(err)
	if err.Status != l7.StatusClientGone {
		answer(x, err.Status, err.Message)
	}
}
func (s *site) Settings() *Settings { return &s.settings }
func (s *site) Current() bool       { return true }
func (s *site) Release()            { s.users.Add(-1) }

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
		text += fmt.Sprintf(" %q", content)
		if err != nil {
			e, ok := errors.AsType[*l7.Error](err)
			if !ok {
				e = &l7.Error{Status: 500, Message: err.Error()}
			}
			if e.Status == l7.StatusClientGone {
				x.Wire.Abort(e.Reason)
				return
			}
			answer(x, e.Status, e.Message)
			return
		}
	}
	answer(x, http.StatusOK, text)
}

// engine is a server with one connection under test.
type engine struct {
	*site
	t       *testing.T
	metrics *telemetry.Metrics
	log     *logged
	client  *net.TCPConn
	conn    *l4.Conn
	server  *Server
	done    chan struct{} // closed when the connection is served
	read    []byte
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

// start serves one connection by serve; change may change its settings.
func start(t *testing.T, serve func(x *l7.Exchange), change func(s *Settings)) *engine {
	t.Helper()
	e := &engine{t: t, log: new(logged), metrics: telemetry.NewMetrics(telemetry.Options{}), done: make(chan struct{})}
	e.site = &site{serve: serve, settings: Settings{
		Limits:        syntax.Limits{HeadBytes: 16 << 10, TargetBytes: 8 << 10, Fields: 100, ChunkExtensionBytes: 256, TrailerBytes: 8 << 10},
		HeaderTimeout: patience, IdleTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, Requests: 1000,
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
	e.server = &Server{
		Acquire: func(string) Site { e.users.Add(1); return e.site },
		Metrics: e.metrics,
		Log:     slog.New(slog.NewTextHandler(e.log, nil)),
	}
	go func() {
		defer close(e.done)
		e.server.ServeConn(e.conn)
	}()
	t.Cleanup(func() {
		e.client.Close()
		<-e.done
		if n := e.users.Load(); n != 0 {
			t.Errorf("the site is held %d times after the connection", n)
		}
		if n := e.metrics.Listener("web").Waiting.Load(); n != 0 {
			t.Errorf("%d connections count as waiting", n)
		}
	})
	return e
}

func (e *engine) send(text string) {
	e.t.Helper()
	if _, err := io.WriteString(e.client, text); err != nil {
		e.t.Fatal(err)
	}
}

// more reads further bytes of the answers.
func (e *engine) more() error {
	p := make([]byte, 64<<10)
	n, err := e.client.Read(p)
	e.read = append(e.read, p[:n]...)
	return err
}

// head reads one head.
func (e *engine) head() string {
	e.t.Helper()
	for {
		if head, rest, ok := bytes.Cut(e.read, []byte("\r\n\r\n")); ok {
			e.read = rest
			return string(head)
		}
		if err := e.more(); err != nil {
			e.t.Fatalf("reading a head: %v behind %q", err, e.read)
		}
	}
}

// answer reads an answer of an announced length: its status line's code, and
// its content.
func (e *engine) answer() string {
	e.t.Helper()
	head := e.head()
	_, length, ok := strings.Cut(head, "Content-Length: ")
	if !ok {
		e.t.Fatalf("no length in %q", head)
	}
	length, _, _ = strings.Cut(length, "\r\n")
	n, err := strconv.Atoi(length)
	if err != nil {
		e.t.Fatal(err)
	}
	for len(e.read) < n {
		if err := e.more(); err != nil {
			e.t.Fatalf("reading content: %v behind %q", err, e.read)
		}
	}
	content := string(e.read[:n])
	e.read = e.read[n:]
	return head[len("HTTP/1.1 "):len("HTTP/1.1 200")] + " " + content
}

// want compares an answer.
func (e *engine) want(answer string) {
	e.t.Helper()
	if got := e.answer(); got != answer {
		e.t.Fatalf("answered %q, want %q", got, answer)
	}
}

// end reads to the connection's end, which must come without further bytes.
func (e *engine) end() {
	e.t.Helper()
	for {
		err := e.more()
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			e.t.Fatal("the connection goes on")
		}
		break
	}
	if len(e.read) > 0 {
		e.t.Fatalf("unexpected %q", e.read)
	}
}

func get(target string, fields ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: a.test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

func post(target, content string, fields ...string) string {
	fields = append(fields, "Content-Length: "+strconv.Itoa(len(content)))
	return "POST " + target + " HTTP/1.1\r\nHost: a.test\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n" + content
}
