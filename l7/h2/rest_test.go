package h2

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// records hands out one frame at a time and holds what came along with it, as
// TLS does with records.
type records struct {
	net.Conn
	held []byte
}

func (r *records) Read(p []byte) (int, error) {
	if len(r.held) == 0 {
		b := make([]byte, 4096)
		n, err := r.Conn.Read(b)
		if err != nil {
			return 0, err
		}
		r.held = b[:n]
	}
	n := len(syntax.HTTP2Preface)
	if !strings.HasPrefix(string(r.held), "PRI") {
		n = frameHead + int(r.held[2])
	}
	n = copy(p, r.held[:min(n, len(r.held))])
	r.held = r.held[n:]
	return n, nil
}

// TestRestWithRecords shows that what a layer above the socket holds is served,
// although the connection rested and the socket has nothing more.
func TestRestWithRecords(t *testing.T) {
	e := connectOver(t, echo, nil, func(c net.Conn) net.Conn { return &records{Conn: c} })
	e.send(syntax.HTTP2Preface)
	e.check(e.fr.WriteSettings())
	waiting := func() bool { return e.metrics.Listener("web").Waiting.Load() == 1 }
	for end := time.Now().Add(patience); !waiting(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection does not rest")
		}
	}
	var both bytes.Buffer
	fr := http2.NewFramer(&both, nil)
	e.check(fr.WritePing(false, [8]byte{1}))
	e.check(fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: e.fields(get("/")...), EndStream: true, EndHeaders: true}))
	e.send(both.String())
	for {
		f, err := e.fr.ReadFrame()
		e.check(err)
		if f.Header().StreamID == 1 {
			return
		}
	}
}
