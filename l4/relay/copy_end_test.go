package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

// watched is a socket of which we know whether its end was read.
type watched struct {
	*net.TCPConn
	ended bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.TCPConn.Read(p)
	w.ended = w.ended || err == io.EOF
	return n, err
}

// TestCopyEndOfTLS ends the TLS of a side in every way, and looks at how that
// is passed on to the other side's TLS, and told.
func TestCopyEndOfTLS(t *testing.T) {
	tests := []struct {
		name   string
		end    func(c *tls.Conn, socket *watched) error
		notice bool // the other side gets close_notify
		want   End
	}{
		{"with close_notify", func(c *tls.Conn, _ *watched) error { return c.CloseWrite() }, true, EndClosed},
		{"without close_notify", func(_ *tls.Conn, s *watched) error { return s.CloseWrite() }, false, EndClosed},
		{"within a record", func(_ *tls.Conn, s *watched) error {
			_, err := s.Write([]byte("\x17\x03\x03\x10\x00half"))
			return errors.Join(err, s.CloseWrite())
		}, false, EndReset},
	}
	for _, tt := range tests {
		for _, ender := range []Side{Client, Upstream} {
			t.Run(tt.name+" by the "+[...]string{"client", "upstream"}[ender], func(t *testing.T) {
				sockets, peers, results := startCopyOfTLS(t)
				other := ender.other()
				send(t, peers[ender], "last words")
				if err := tt.end(peers[ender], sockets[ender]); err != nil {
					t.Fatal(err)
				}
				expect(t, peers[other], "last words")
				_, err := peers[other].Read(make([]byte, 1))
				if err != io.EOF && tt.want == EndClosed {
					t.Errorf("the other side's end: %v", err)
				}
				if notice := err == io.EOF && !sockets[other].ended; notice != tt.notice {
					t.Errorf("the other side gets close_notify: %v, its end: %v", notice, err)
				}
				if tt.want == EndClosed { // and its direction goes on
					send(t, peers[other], "an answer")
					expect(t, peers[ender], "an answer")
					if err := peers[other].Close(); err != nil && tt.notice {
						t.Error(err)
					}
				}
				(&link{t: t, results: results}).wantEnd(tt.want, ender)
			})
		}
	}
}

// startCopyOfTLS starts a Copy between two sides of TLS.
func startCopyOfTLS(t *testing.T) (sockets [2]*watched, peers [2]*tls.Conn, results chan Result) {
	t.Helper()
	var parties [2]Party
	certificate := testCertificate(t)
	trusting := &tls.Config{InsecureSkipVerify: true}
	for _, side := range []Side{Client, Upstream} {
		peer, ours := connected(t)
		sockets[side] = &watched{TCPConn: peer}
		parties[side] = Party{Socket: ours, Secure: true}
		var own *tls.Conn
		if side == Client {
			own, peers[side] = tls.Server(ours, certificate), tls.Client(sockets[side], trusting)
		} else {
			own, peers[side] = tls.Client(ours, trusting), tls.Server(sockets[side], certificate)
		}
		parties[side].Stream = own
		shaken := make(chan error, 1)
		go func() { shaken <- own.Handshake() }()
		if err := errors.Join(peers[side].Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { peer.Close() })
	}
	results = make(chan Result, 1)
	go func() { results <- Copy(t.Context(), parties[Client], parties[Upstream], nil, 0) }()
	return sockets, peers, results
}
