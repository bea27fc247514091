package testkit

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	// patience bounds the wait for what a test expects.
	patience = 20 * time.Second

	// stillness is how long nothing may come for a reply to count as complete
	// while expectations are recorded.
	stillness = 400 * time.Millisecond
)

// client is the scripted client of one run.
type client struct {
	script *script
	edge   *Edge
	split  split
	record bool // expectations are recorded, not checked
	ports  []string

	patience time.Duration

	conn net.Conn
	tcp  *net.TCPConn
}

// dial opens the next connection.
func (c *client) dial() error {
	nc, err := net.Dial("tcp", c.edge.At(c.script.listener()).String())
	if err != nil {
		return err
	}
	c.tcp = nc.(*net.TCPConn)
	c.conn = nc
	if c.script.speaksTLS() {
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: c.script.options["sni"]}
		if name, ok := c.script.options["cert"]; ok {
			cfg.GetClientCertificate = ClientCertificate(name)
		}
		c.conn = tls.Client(nc, cfg)
	}
	local := nc.LocalAddr().(*net.TCPAddr).Port
	c.ports = append(c.ports, strconv.Itoa(local), "<client-port>")
	return nil
}

// do takes a step and returns the reply's text.
func (c *client) do(s *step, expected string) (string, error) {
	if c.conn == nil || s.connect {
		if c.conn != nil {
			c.conn.Close()
		}
		if err := c.dial(); err != nil {
			return "", err
		}
	}
	for i := range s.send {
		p := &s.send[i]
		if p.action == "" {
			if !send(c.conn, c.split.pieces(p)) {
				break // the edge has closed; its reply tells why
			}
			continue
		}
		if !act(c.conn, c.tcp, p) && p.action != actHalfClose {
			return "", nil // our own end of the connection
		}
	}
	if s.reply < 0 && !s.last {
		return "", nil
	}
	return c.read(s, expected), nil
}

// read reads what comes until it is what is expected or cannot become so.
func (c *client) read(s *step, expected string) string {
	var got []byte
	text := func() string { return normalize(render(c.script.shown(got)), c.ports...) }
	asked := false // our end is half closed
	before := 0    // bytes that had come by then
	limit := time.Now().Add(c.patience)
	b := make([]byte, 8<<10)
	for {
		now := text()
		if !asked && !c.record && now == expected {
			if !s.last {
				return now
			}
			asked, before = true, len(got)
			_ = closeWrite(c.conn)
		}
		deadline := limit
		if c.record && !asked {
			deadline = time.Now().Add(stillness)
		}
		_ = c.conn.SetReadDeadline(deadline)
		n, err := c.conn.Read(b)
		got = append(got, b[:n]...)
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded) && c.record && !asked:
			if !s.last {
				return text()
			}
			asked, before = true, len(got)
			_ = closeWrite(c.conn)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return text() + "<silence>\n"
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrUnexpectedEOF):
			// Over TLS a mere end of the stream is as unfriendly as a reset.
			return text() + actReset + "\n"
		case asked && len(got) > before:
			return text() + "<late>\n" // the script's client must half-close by itself
		case asked:
			return text()
		default:
			return text() + actClose + "\n"
		}
	}
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
	}
}
