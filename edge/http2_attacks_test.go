package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h2"
)

// bigAnswer is what an attacked upstream answers to /big, which is far more than
// the buffers between it and the client hold.
const bigAnswer = 8 << 20

// Where an attack holds streams, the bytes of each are mostly what a request or an
// answer may have in our hands (64 KiB), and what the test's own upstream needs.
const streamHeap = 88 << 10

// startAttacked starts an upstream with short answers, long ones (/big), none
// (/silent), and none where it takes no content either (/stuck).
func startAttacked(t *testing.T) (addr string) {
	return testkit.StartTCP(t, func(c net.Conn) {
		_ = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
		r := bufio.NewReaderSize(c, 1<<10)
		for {
			line, err := r.ReadString('\n')
			for rest := line; err == nil && rest != "\r\n"; {
				rest, err = r.ReadString('\n')
			}
			switch {
			case err != nil:
				return
			case strings.Contains(line, " /stuck "):
				<-t.Context().Done()
				return
			case strings.Contains(line, " /silent "):
				_, _ = io.Copy(io.Discard, r)
				return
			case strings.Contains(line, " /big "):
				_, err = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", bigAnswer)
				for piece := make([]byte, 4<<10); err == nil; {
					_, err = c.Write(piece)
				}
				return
			default:
				if _, err := io.WriteString(c, answer); err != nil {
					return
				}
			}
		}
	})
}

// attack is what each of some connections does.
type attack struct {
	name        string
	connections int
	settings    []http2.Setting
	send        func(c *http2Client, i int) error // again and again, until it fails
	times       int                               // or so often; then the connection is held
	glitches    string                            // the kind that ends it
	heap        int64                             // bytes that each connection may hold, at most
}

func asks(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "a.test", ":path", path}, more...)
}

var attacks = []attack{
	{name: "rapid reset (CVE-2023-44487)", connections: 20, glitches: "reset", heap: 512 << 10, send: func(c *http2Client, _ int) error {
		_ = c.tryOpen(true, asks("GET", "/")...)
		return c.fr.WriteRSTStream(c.nextID-2, http2.ErrCodeCancel)
	}},
	{name: "made you reset (CVE-2025-8671)", connections: 20, glitches: "stream_error", heap: 256 << 10, send: func(c *http2Client, _ int) error {
		_ = c.tryOpen(false, asks("POST", "/silent")...)
		return c.fr.WriteWindowUpdate(c.nextID-2, 0)
	}},
	{name: "CONTINUATION flood (CVE-2023-45288)", connections: 20, heap: 256 << 10, send: func(c *http2Client, i int) error {
		if i == 0 {
			return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		}
		return c.fr.WriteContinuation(1, false, []byte{0x82})
	}},
	{name: "HPACK bomb", connections: 20, glitches: "head_too_large", heap: 256 << 10, send: func(c *http2Client, i int) error {
		if i < 2 { // the first one fills the table, the second one only points there
			long := strings.Repeat("x", 3900)
			list := asks("GET", "/", "bomb", long)
			for range 400 {
				list = append(list, "bomb", long)
			}
			return c.tryOpen(true, list...)
		}
		c.nextID += 2
		return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: c.nextID - 2, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true})
	}},
	{name: "PING flood", connections: 20, glitches: "ping", heap: 256 << 10, send: func(c *http2Client, _ int) error { return c.fr.WritePing(false, [8]byte{}) }},
	{name: "SETTINGS flood", connections: 20, glitches: "settings", heap: 256 << 10, send: func(c *http2Client, _ int) error { return c.fr.WriteSettings() }},
	{name: "PRIORITY flood", connections: 20, glitches: "priority", heap: 256 << 10, send: func(c *http2Client, i int) error {
		return c.fr.WritePriority(uint32(1+2*i), http2.PriorityParam{Weight: 1})
	}},
	{name: "WINDOW_UPDATE flood", connections: 20, glitches: "window_update", heap: 256 << 10, send: func(c *http2Client, _ int) error { return c.fr.WriteWindowUpdate(0, 1) }},
	{name: "empty frames", connections: 20, glitches: "empty_frame", heap: 256 << 10, send: func(c *http2Client, i int) error {
		if i == 0 {
			return c.tryOpen(false, asks("POST", "/stuck")...)
		}
		return c.fr.WriteData(1, false, nil)
	}},
	{name: "stalled uploads", connections: 20, times: 100, heap: 100 * streamHeap, send: func(c *http2Client, _ int) error {
		_ = c.tryOpen(false, asks("POST", "/stuck")...)
		return c.fr.WriteData(c.nextID-2, false, make([]byte, 4<<10))
	}},
	// The attack of 2026: heads that cost nothing to send, answers that cannot be
	// sent, each of which keeps what it holds.
	{
		name: "zero windows", connections: 20, times: 100, heap: 100 * streamHeap,
		settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}},
		send: func(c *http2Client, _ int) error {
			return c.tryOpen(true, asks("GET", "/big", "x", strings.Repeat("y", 3900))...)
		},
	},
	{
		name: "slow reader", connections: 20, times: 100, heap: 120 * streamHeap, // a block and what stands around it
		settings: []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}},
		send:     func(c *http2Client, _ int) error { return c.tryOpen(true, asks("GET", "/big")...) },
	},
}

// TestHTTP2Attacks lets connections do what is known to have brought servers down,
// and looks at what becomes of them, of the memory, and of another client.
func TestHTTP2Attacks(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) { a.run(t) })
	}
}

func (a *attack) run(t *testing.T) {
	const requests, mostFrames = 200, 10_000_000
	e := testkit.StartEdge(t, http2Node+strings.Replace(shop(startAttacked(t)), "connect_timeout", "read_timeout: 60000\n    connect_timeout", 1))
	other := speak(t, e.At("http"), nil)
	ask := func() {
		_ = other.conn.SetDeadline(time.Now().Add(patience)) // of each answer
		if status, content := other.answer(other.get("a.test")); status != 200 || string(content) != "ok" {
			t.Fatalf("another client is answered %d %q", status, content)
		}
	}
	ask()
	var conns []*http2Client
	for range a.connections {
		conns = append(conns, speak(t, e.At("http"), nil, a.settings...))
	}
	before := heap()
	var attackers sync.WaitGroup
	ended := make([]bool, a.connections)
	for i, c := range conns {
		attackers.Go(func() {
			if a.times == 0 {
				go func() { _, _ = io.Copy(io.Discard, c.conn) }()
			}
			for n := 0; n < mostFrames && (a.times == 0 || n < a.times); n++ {
				if a.send(c, n) != nil {
					ended[i] = true
					return
				}
			}
		})
	}
	for range requests {
		ask()
	}
	attackers.Wait()
	for i, over := range ended {
		if over != (a.times == 0) {
			t.Errorf("connection %d: ended: %v", i, over)
		}
	}
	ask()
	held := heap() - before
	t.Logf("%d connections; %d KiB are held by each", a.connections, held/int64(a.connections)>>10)
	if most := a.heap * int64(a.connections); held > most {
		t.Errorf("%d bytes are held, want at most %d", held, most)
	}
	m := e.Metrics()
	if a.glitches == "" {
		return
	}
	all := uint64(0)
	for i := range h2.GlitchNames() {
		all += m.HTTP2Glitches.Load(i)
	}
	// Some streams of an attack may come above the bound, which is another glitch.
	if n := m.HTTP2Glitches.Load(slices.Index(h2.GlitchNames(), a.glitches)); n == 0 || all < uint64(500*a.connections) {
		t.Errorf("%d glitches are counted, %d in all", n, all)
	}
	if n := m.Terminations.Load(int(l7.ReasonHTTP2Flood)); n != uint64(a.connections) {
		t.Errorf("%d connections were ended for it", n)
	}
}

// TestFloodBans shows that the client of a connection that is ended for a flood is
// banned, unless it is one of those that speak for others.
func TestFloodBans(t *testing.T) {
	for trusted, want := range map[string]string{"192.0.2.0/24": "1", "127.0.0.0/8": "0"} {
		t.Run(trusted, func(t *testing.T) {
			node := strings.Replace(http2Node, "node:", "node:\n  limits: {ban_time: 60s}\n  trusted_ips: ["+trusted+"]", 1)
			e := testkit.StartEdge(t, node+shop(startAttacked(t)))
			c := speak(t, e.At("http"), nil)
			for c.fr.WriteRawFrame(0x42, 0, 0, nil) == nil {
			}
			eventually(t, "the end of the connection", func() bool { return e.Metrics().Terminations.Load(int(l7.ReasonHTTP2Flood)) == 1 })
			e.Stop() // what was to be banned is
			if n := metric(e, "bulwark_bans_active"); n != want {
				t.Errorf("%s clients are banned, want %s", n, want)
			}
		})
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools gave up with the first one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
