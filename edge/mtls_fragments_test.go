package edge_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// cutting sends the first TLS record of a connection, the hello, as many records,
// each by itself.
type cutting struct {
	net.Conn
	piece int // bytes of the hello in a record; 0: it has been sent
}

func (c *cutting) Write(p []byte) (int, error) {
	const header = 5
	size := c.piece
	if c.piece = 0; size == 0 {
		return c.Conn.Write(p)
	}
	for rest := p[header:]; len(rest) > 0; {
		n := min(size, len(rest))
		record := append([]byte{p[0], p[1], p[2], byte(n >> 8), byte(n)}, rest[:n]...)
		if _, err := c.Conn.Write(record); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// TestHelloInPieces cuts the hello of a protected name into pieces, behind which a
// look at the first record finds no name: what is asked of the client is what is
// asked of it otherwise, by a policy and by a plugin, for requests and for streams.
func TestHelloInPieces(t *testing.T) {
	ca := pki.NewCA(t, "CA")
	services := fmt.Sprintf("services: [{name: s, url: 'tcp://%s', routes: [{name: s, protocols: [tls], snis: [strict.test]}]}]\n", startSayer(t, "strict"))
	policy := "  tls:\n    policies:\n" + strictPolicy(ca, "")
	joe := ca.Client("joe").TLS()
	for _, tt := range []struct {
		name, yaml, listener, host string
		bare, with                 string // what the answer of a client without, and of one with, begins with; "": there is none
	}{
		{"HTTPS", answering(policy, ""), "https", "strict.test", "", "HTTP/1.1 200 OK"},
		{"HTTPS by a plugin", protected(t, []*pki.CA{ca}, ", skip_consumer_lookup: true"), "https", "shop.test", "HTTP/1.1 401 Unauthorized", "HTTP/1.1 200 OK"},
		{"a stream beside HTTPS", answering(policy, services), "https", "strict.test", "", "strict"},
		{"a stream", answering("  listeners: [{name: tls, address: '127.0.0.1:0', serve: tls}]\n"+policy, services), "tls", "strict.test", "", "strict"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := testkit.StartEdge(t, tt.yaml)
			for _, piece := range []int{1, 3, 40, 16 << 10} {
				for _, certificates := range [][]tls.Certificate{nil, {joe}} {
					c := tls.Client(&cutting{dialAt(t, e.At(tt.listener)), piece}, &tls.Config{ServerName: tt.host, InsecureSkipVerify: true, Certificates: certificates})
					_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", tt.host)
					_ = c.CloseWrite()
					got, _ := io.ReadAll(c)
					want := tt.bare
					if certificates != nil {
						want = tt.with
					}
					if !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 {
						t.Errorf("in pieces of %d bytes, with %d certificates: answered %q, want %q", piece, len(certificates), got, want)
					}
				}
			}
		})
	}
}
