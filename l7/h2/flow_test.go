package h2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// serveBytes answers with as many bytes as the path says.
func serveBytes(x *l7.Exchange) {
	var n int64
	_, _ = fmt.Sscanf(x.Req.Path, "/%d", &n)
	_ = x.Wire.WriteHead(200, new(l7.Header), n)
	if _, err := x.Wire.Write(make([]byte, n)); err != nil {
		x.Wire.Abort(l7.ReasonClientGone)
		return
	}
	_ = x.Wire.Finish(nil)
}

// TestWindows shows that no more is sent than the windows let.
func TestWindows(t *testing.T) {
	e := start(t, serveBytes, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	data := func(id, n int) string { return fmt.Sprintf("DATA %d %q", id, make([]byte, n)) }
	e.headers(1, true, get("/10")...)
	e.want("HEADERS 1 :status=200 content-length=10", data(1, 3))
	e.alive()
	e.check(e.fr.WriteWindowUpdate(1, 2))
	e.want(data(1, 2))
	e.check(e.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 4}))
	line := e.next() // one more, before or behind the acknowledgement
	if line == "SETTINGS ACK" {
		e.want(data(1, 1))
	} else if line != data(1, 1) {
		t.Errorf("sent %q", line)
	} else {
		e.want("SETTINGS ACK")
	}
	e.check(e.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})) // the window is below nothing now
	e.want("SETTINGS ACK")
	e.check(e.fr.WriteWindowUpdate(1, 4))
	e.alive()
	e.check(e.fr.WriteWindowUpdate(1, 4))
	e.want(data(1, 4) + " END")
}

// TestSharedWindow shows that a stream that waits for its own window does not
// hold up another, and that the connection's counts for all.
func TestSharedWindow(t *testing.T) {
	e := start(t, serveBytes, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	read := func(most int) (n int) {
		for n < most {
			f, err := e.fr.ReadFrame()
			e.check(err)
			if d, ok := f.(*http2.DataFrame); ok {
				n += len(d.Data())
			}
		}
		return n
	}
	e.headers(1, true, get("/100000")...)
	if n := read(65535); n != 65535 {
		t.Fatalf("%d bytes came, more than the window", n)
	}
	e.alive()
	e.headers(3, true, get("/0")...)
	e.want("HEADERS 3 :status=200 content-length=0 END")
	e.check(e.fr.WriteWindowUpdate(0, 100000))
	if n := read(100000 - 65535); n != 100000-65535 {
		t.Errorf("%d bytes came", n)
	}
}

// TestUpload shows that content flows as it is taken, and no faster.
func TestUpload(t *testing.T) {
	take := make(chan struct{})
	e := start(t, func(x *l7.Exchange) {
		<-take
		n, err := io.Copy(io.Discard, struct{ io.Reader }{x.Req.Body})
		answer(x, 200, fmt.Sprintf("%d %v", n, err))
	}, nil)
	e.headers(1, false, request("POST", "/")...)
	piece := make([]byte, 16<<10)
	for range 8 {
		e.check(e.fr.WriteData(1, false, piece))
	}
	e.alive() // nothing was taken, so there is no more room
	close(take)
	sent, room := 128<<10, 0
	for sent < 4<<20 {
		f, err := e.fr.ReadFrame()
		e.check(err)
		if w, ok := f.(*http2.WindowUpdateFrame); ok && w.StreamID == 1 {
			for room += int(w.Increment); room >= len(piece); room -= len(piece) {
				e.check(e.fr.WriteData(1, false, piece))
				sent += len(piece)
			}
		}
	}
	e.check(e.fr.WriteData(1, true, nil))
	for {
		line := e.next()
		if strings.HasPrefix(line, "WINDOW_UPDATE") || strings.HasPrefix(line, "HEADERS") {
			continue
		}
		if want := fmt.Sprintf("DATA 1 %q END", fmt.Sprintf("%d <nil>", sent)); line != want {
			t.Errorf("answered %s, want %s", line, want)
		}
		return
	}
}

// TestManyStreams lets many streams with content both ways share connections,
// and compares every byte.
func TestManyStreams(t *testing.T) {
	e := connect(t, func(x *l7.Exchange) {
		_ = x.Wire.WriteHead(200, new(l7.Header), -1)
		p := make([]byte, 3000)
		for {
			n, err := x.Req.Body.Read(p)
			if _, werr := x.Wire.Write(p[:n]); werr != nil {
				x.Wire.Abort(l7.ReasonClientGone)
				return
			}
			if err == io.EOF {
				_ = x.Wire.Finish(nil)
				return
			}
			if err != nil {
				x.Wire.Abort(l7.ReasonClientGone)
				return
			}
			_ = x.Wire.Flush()
		}
	}, nil)
	_ = e.client.SetDeadline(time.Time{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return e.client, nil }}
	if err := roundTrip(client, []byte("first")); err != nil { // else each of the 60 dials, and there is one connection
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			content := bytes.Repeat([]byte{byte(i)}, 1+1000*i)
			for range 5 {
				if err := roundTrip(client, content); err != nil {
					t.Errorf("stream with %d bytes: %v", len(content), err)
				}
			}
		})
	}
	all.Wait()
	client.CloseIdleConnections()
}

// TestPriorities shows that of two answers that wait the more urgent one goes
// first, whichever came first (RFC 9218).
func TestPriorities(t *testing.T) {
	e := start(t, serveBytes, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	drain := func(n int) {
		for n > 0 {
			f, err := e.fr.ReadFrame()
			e.check(err)
			if d, ok := f.(*http2.DataFrame); ok {
				n -= len(d.Data())
			}
		}
	}
	e.headers(1, true, get("/65535")...)
	drain(65535)
	e.headers(3, true, get("/10", "priority", "u=5")...)
	e.want("HEADERS 3 :status=200 content-length=10")
	e.headers(5, true, get("/10", "priority", "u=1")...)
	e.want("HEADERS 5 :status=200 content-length=10")
	e.headers(7, true, get("/10", "priority", "u=5")...)
	e.want("HEADERS 7 :status=200 content-length=10")
	e.check(e.fr.WritePriorityUpdate(7, "u=0, i"))
	e.alive()
	e.check(e.fr.WriteWindowUpdate(0, 30))
	ten := fmt.Sprintf("%q END", make([]byte, 10))
	e.want("DATA 7 "+ten, "DATA 5 "+ten, "DATA 3 "+ten)
}

func TestParsePriority(t *testing.T) {
	for _, tt := range []struct {
		value       string
		urgency     uint8
		incremental bool
	}{
		{"", 3, false},
		{"u=0", 0, false},
		{"u=7, i", 7, true},
		{"i=?1,u=2", 2, true},
		{"i=?0", 3, false},
		{"u=8", 3, false},
		{"u=-1", 3, false},
		{"u=1;x=2, foo=bar", 1, false},
		{"u=x,i=1", 3, false},
	} {
		if u, i := parsePriority(tt.value); u != tt.urgency || i != tt.incremental {
			t.Errorf("%q is %d %v, want %d %v", tt.value, u, i, tt.urgency, tt.incremental)
		}
	}
}

// TestTunnel shows that a stream becomes a stream of bytes (RFC 8441).
func TestTunnel(t *testing.T) {
	e := start(t, func(x *l7.Exchange) {
		if x.Req.Method != "GET" || x.Req.Upgrade != "websocket" || x.Req.Body != nil {
			t.Errorf("asked with %s, upgrade %q", x.Req.Method, x.Req.Upgrade)
		}
		if key, _ := x.Req.Header.Get("Sec-WebSocket-Key"); len(key) != 24 {
			t.Errorf("the key is %q", key)
		}
		h := new(l7.Header)
		h.Add("Upgrade", "websocket")
		h.Add("Sec-WebSocket-Accept", "x")
		h.Add("Sec-WebSocket-Protocol", "chat")
		if err := x.Wire.WriteHead(101, h, -1); err != nil {
			t.Error(err)
		}
		tunnel, err := x.Wire.Tunnel()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(tunnel, tunnel)
		_ = tunnel.(interface{ CloseWrite() error }).CloseWrite()
	}, nil)
	e.headers(1, false, request("CONNECT", "/chat", ":protocol", "websocket", "sec-websocket-version", "13")...)
	e.want("HEADERS 1 :status=200 sec-websocket-protocol=chat")
	e.check(e.fr.WriteData(1, false, []byte("hello")))
	e.want(`DATA 1 "hello"`)
	e.check(e.fr.WriteData(1, true, []byte("bye")))
	e.want(`DATA 1 "bye"`, `DATA 1 "" END`)
	e.alive()
}

// TestNoSwitch shows that a success without a switch does not pass for one.
func TestNoSwitch(t *testing.T) {
	e := start(t, func(x *l7.Exchange) {
		if err := x.Wire.WriteHead(200, new(l7.Header), 2); err == nil {
			t.Error("200 was taken")
		}
		x.Wire.Abort(l7.ReasonUpstreamProtocol)
	}, nil)
	e.headers(1, false, request("CONNECT", "/chat", ":protocol", "websocket")...)
	e.want("RST_STREAM 1 INTERNAL_ERROR")
	e.alive()
}
