package health

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bulwark-edge/bulwark/upstream"
)

// Probe is a question to an endpoint. It is immutable and safe for concurrent
// use. Each one has a connection of its own, which serves nothing else.
type Probe struct {
	Timeout time.Duration // from the start to the verdict
	HTTP    bool          // false: an endpoint that accepts a connection is well
	TLS     *tls.Config   // nil: plaintext; without a ServerName that of the target is used
	Path    string
	Host    string // the Host field; "": the target's name, without its port as in Kong
	Headers map[string][]string
	Agent   string // the User-Agent, unless Headers has one
}

// Send probes an endpoint. One that was only to accept a connection, and did, has
// the status 0, which a tcp check takes as any other. The error says what was wrong with an endpoint that
// gave no status. OutcomeNone says that nothing was learned: ctx ended, or we
// have no socket to ask with.
func (p *Probe) Send(ctx context.Context, addr netip.AddrPort, host string) (upstream.Outcome, error) {
	began := time.Now()
	timed, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	status, err := p.ask(timed, addr, host)
	out := upstream.Outcome{Kind: upstream.OutcomeStatus, Status: status, Latency: time.Since(began)}
	switch {
	case err == nil, errors.Is(err, errNotHTTP): // whose status is 0, a failure as in Kong
	case ctx.Err() != nil, isOurs(err):
		out.Kind = upstream.OutcomeNone
	case timed.Err() != nil, isTimeout(err):
		out.Kind = upstream.OutcomeTimeout
		err = fmt.Errorf("waiting %v: %w", p.Timeout, context.DeadlineExceeded)
	default:
		out.Kind = upstream.OutcomeConnect
	}
	return out, err
}

// ask returns the status of the endpoint's answer, or 0 once it has accepted if
// no more is asked.
func (p *Probe) ask(ctx context.Context, addr netip.AddrPort, host string) (int, error) {
	var d net.Dialer
	socket, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	if !p.HTTP {
		return 0, nil
	}
	// The past as deadline ends whatever waits.
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := socket
	if p.TLS != nil {
		secure := tls.Client(socket, p.config(host))
		if err := secure.HandshakeContext(ctx); err != nil {
			return 0, fmt.Errorf("shaking hands: %w", err)
		}
		conn = secure
	}
	if _, err := conn.Write(p.request(host)); err != nil {
		return 0, err
	}
	return readStatus(conn)
}

func (p *Probe) config(host string) *tls.Config {
	if p.TLS.ServerName != "" {
		return p.TLS
	}
	c := p.TLS.Clone()
	c.ServerName = host
	return c
}

// request returns the bytes of the question.
func (p *Probe) request(host string) []byte {
	if strings.Contains(host, ":") {
		host = "[" + host + "]" // an IPv6 address
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", p.Path)
	if !p.has("Host") {
		fmt.Fprintf(&b, "Host: %s\r\n", cmp.Or(p.Host, host))
	}
	if !p.has("User-Agent") {
		fmt.Fprintf(&b, "User-Agent: %s\r\n", p.Agent)
	}
	names := make([]string, 0, len(p.Headers))
	for name := range p.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range p.Headers[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

func (p *Probe) has(name string) bool {
	for h := range p.Headers {
		if strings.EqualFold(h, name) && len(p.Headers[h]) > 0 {
			return true
		}
	}
	return false
}

// isOurs reports whether an error is a want of our own, which says nothing about
// the endpoint.
func isOurs(err error) bool {
	for _, e := range [...]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}
