package edge_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Client is a client of HTTP/2 that says what a test wants it to say.
type http2Client struct {
	t      *testing.T
	conn   net.Conn
	fr     *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	dec    *hpack.Decoder
	nextID uint32
	away   bool // GOAWAY came
	room   map[uint32]int64
}

// speak begins a connection; cfg is nil for one without TLS.
func speak(t *testing.T, at netip.AddrPort, cfg *tls.Config, settings ...http2.Setting) *http2Client {
	t.Helper()
	c := &http2Client{t: t, conn: dialAt(t, at), nextID: 1, room: map[uint32]int64{0: 65535}}
	if cfg != nil {
		cfg = cfg.Clone()
		cfg.NextProtos, cfg.InsecureSkipVerify = []string{"h2"}, cfg.RootCAs == nil
		secure := tls.Client(c.conn, cfg)
		c.check(secure.Handshake())
		if got := secure.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Fatalf("%q was agreed upon", got)
		}
		c.conn = secure
	}
	c.fr = http2.NewFramer(c.conn, c.conn)
	c.fr.AllowIllegalWrites = true
	c.enc, c.dec = hpack.NewEncoder(&c.block), hpack.NewDecoder(4096, nil)
	_, err := io.WriteString(c.conn, http2.ClientPreface)
	c.check(err)
	c.check(c.fr.WriteSettings(settings...))
	c.check(c.fr.WriteWindowUpdate(0, 1<<30))
	return c
}

func (c *http2Client) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// open sends a header list on a new stream.
func (c *http2Client) open(end bool, list ...string) (id uint32) {
	c.t.Helper()
	c.check(c.tryOpen(end, list...))
	return c.nextID - 2
}

func (c *http2Client) tryOpen(end bool, list ...string) error {
	c.block.Reset()
	for i := 0; i+1 < len(list); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: list[i], Value: list[i+1]})
	}
	id := c.nextID
	c.nextID += 2
	c.room[id] = 65535
	return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true})
}

// get asks for / at a host.
func (c *http2Client) get(host string) (id uint32) {
	c.t.Helper()
	return c.open(true, ":method", "GET", ":scheme", "https", ":authority", host, ":path", "/")
}

// event is what came on a stream.
type event struct {
	id     uint32
	status int
	header map[string]string
	data   []byte
	end    bool
	reset  bool
	code   http2.ErrCode
}

// next returns what comes next on a stream. What belongs to the connection is
// taken note of.
func (c *http2Client) next() event {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		c.check(err)
		switch f := f.(type) {
		case *http2.HeadersFrame:
			list, err := c.dec.DecodeFull(f.HeaderBlockFragment())
			c.check(err)
			ev := event{id: f.StreamID, header: make(map[string]string), end: f.StreamEnded()}
			for _, h := range list {
				ev.header[h.Name] = h.Value
			}
			ev.status, _ = strconv.Atoi(ev.header[":status"])
			return ev
		case *http2.DataFrame:
			return event{id: f.StreamID, data: bytes.Clone(f.Data()), end: f.StreamEnded()}
		case *http2.RSTStreamFrame:
			return event{id: f.StreamID, reset: true, code: f.ErrCode}
		case *http2.GoAwayFrame:
			c.away = true
		case *http2.WindowUpdateFrame:
			c.room[f.StreamID] += int64(f.Increment)
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				for id := range c.room {
					if id != 0 {
						c.room[id] += int64(v) - 65535
					}
				}
			}
			if !f.IsAck() {
				c.check(c.fr.WriteSettingsAck())
			}
		}
	}
}

// answer waits for the end of a stream and returns its status and content; 0 if
// it was reset.
func (c *http2Client) answer(id uint32) (status int, content []byte) {
	c.t.Helper()
	for {
		ev := c.next()
		if ev.id != id {
			continue
		}
		if ev.reset {
			return 0, content
		}
		status += ev.status
		if content = append(content, ev.data...); ev.end {
			return status, content
		}
	}
}
