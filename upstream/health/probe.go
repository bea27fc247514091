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

// Kind is what a probe asks for.
type Kind uint8

// The kinds.
const (
	HTTP Kind = iota // the status of an answer
	TCP              // that a connection is accepted
	UDP              // an answer to a datagram
)

// Probe is a question to an endpoint. It is immutable and safe for concurrent
// use. Each one has a socket of its own, which serves nothing else.
type Probe struct {
	Timeout time.Duration // from the start to the verdict
	Kind    Kind

	// Of HTTP.
	TLS     *tls.Config // nil: plaintext; without a ServerName that of the target is used
	Path    string
	Host    string // the Host field; "": the target's name, without its port as in Kong
	Headers map[string][]string
	Agent   string // the User-Agent, unless Headers has one

	// Of UDP.
	Payload []byte // the datagram
	Answer  []byte // what an answer begins with; none: any is right
}

// Send probes an endpoint. One that gave what was asked for but a status, as a
// connection or a datagram, has the status 0, which checks of tcp and udp take as
// any other. The error says what was wrong with an endpoint that gave no status. OutcomeNone says that nothing was learned: ctx ended, or we
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
	case errors.Is(err, errOtherAnswers):
		out.Kind = upstream.OutcomeTimeout
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
	network := "tcp"
	if p.Kind == UDP {
		network = "udp"
	}
	var d net.Dialer
	socket, err := d.DialContext(ctx, network, addr.String())
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	// The past as deadline ends whatever waits.
	stop := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	switch p.Kind {
	case TCP:
		return 0, nil
	case UDP:
		return 0, p.exchange(socket)
	}
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

// maxOthers bounds the answers to one probe that are not looked for.
const maxOthers = 16

// errOtherAnswers says that an endpoint has sent as many answers as are looked
// at, and none was as expected, which is as no answer.
var errOtherAnswers = fmt.Errorf("none of %d answers was as expected", maxOthers)

// exchange sends the datagram and waits for the right answer. A host that has no
// such port says so by ICMP, which is the error of the next call. A socket that has
// met itself, by being given the port that it asks, has met nobody else.
func (p *Probe) exchange(socket net.Conn) error {
	if socket.LocalAddr().String() == socket.RemoteAddr().String() {
		return syscall.ECONNREFUSED
	}
	if _, err := socket.Write(p.Payload); err != nil {
		return err
	}
	answer := make([]byte, max(1, len(p.Answer))) // what is beyond is not looked at
	for range maxOthers {
		n, err := socket.Read(answer)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(answer[:n], p.Answer) {
			return nil
		}
	}
	return errOtherAnswers
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
