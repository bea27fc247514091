package h1

import "github.com/bulwark-edge/bulwark/l7"

// Tunnel hands the byte stream over after a 101.
func (c *conn) Tunnel() (l7.Tunnel, error) {
	if err := c.Flush(); err != nil {
		return nil, err
	}
	c.wire.drop()
	c.wire.taken = true
	c.socket.SetWriteTimeout(0) // a tunnel has deadlines of its own
	return &tunnel{conn: c}, nil
}

// tunnel is the connection as a stream: first what the engine had read already,
// then the rest.
type tunnel struct{ *conn }

func (t *tunnel) Read(p []byte) (int, error) {
	c := t.conn
	if c.from < c.to {
		n := copy(p, c.block.B[c.from:c.to])
		c.from += n
		if c.from == c.to {
			c.dropInput()
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

func (t *tunnel) Write(p []byte) (int, error) { return t.conn.Conn.Write(p) }

func (t *tunnel) Close() error { return t.conn.Conn.Close() }
