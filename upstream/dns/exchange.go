package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// ednsBytes is the greatest answer that is taken over UDP: what passes
	// unfragmented nearly everywhere.
	ednsBytes = 1232
	// maxLies is how many datagrams may come that are no answer to the question
	// before it is asked over TCP: someone is guessing.
	maxLies = 16
)

// errLies says that what came was no answer to the question.
var errLies = errors.New("the answers do not fit the question")

// exchanger asks one server one question, once. The wire is one; tests have
// others. It returns within ctx, and what it returns answers the question.
type exchanger interface {
	exchange(ctx context.Context, server netip.AddrPort, q dns.Question) (*dns.Msg, error)
}

// wire asks over the network: by UDP and, if the answer is cut short or others
// answer in the server's place, by TCP. Each question has a socket of its own,
// connected, so that the kernel chooses a random port and drops what comes from
// elsewhere.
type wire struct{}

var _ exchanger = wire{}

func (wire) exchange(ctx context.Context, server netip.AddrPort, q dns.Question) (*dns.Msg, error) {
	edns := true
	m, err := overUDP(ctx, server, q, edns)
	if err == nil && m.Rcode == dns.RcodeFormatError {
		// RFC 6891 section 7: a server that does not know EDNS.
		edns = false
		m, err = overUDP(ctx, server, q, edns)
	}
	if errors.Is(err, errLies) || err == nil && m.Truncated {
		return overTCP(ctx, server, q, edns)
	}
	return m, err
}

// question returns the message that asks q, with a random id.
func question(q dns.Question, edns bool) (*dns.Msg, []byte, error) {
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.RecursionDesired = true
	m.Question = []dns.Question{q}
	if edns {
		m.SetEdns0(ednsBytes, false)
	}
	b, err := m.Pack()
	return m, b, err
}

// connect opens a socket that ctx bounds in all it does.
func connect(ctx context.Context, network string, server netip.AddrPort) (net.Conn, func(), error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return c, func() { stop(); c.Close() }, nil
}

func overUDP(ctx context.Context, server netip.AddrPort, q dns.Question, edns bool) (*dns.Msg, error) {
	m, b, err := question(q, edns)
	if err != nil {
		return nil, err
	}
	c, done, err := connect(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	room := make([]byte, ednsBytes+1) // one more shows what is too long
	for range maxLies {
		n, err := c.Read(room)
		if err != nil {
			return nil, err
		}
		if n > ednsBytes {
			continue
		}
		if r := answerTo(m, room[:n]); r != nil {
			return r, nil
		}
	}
	return nil, errLies
}

func overTCP(ctx context.Context, server netip.AddrPort, q dns.Question, edns bool) (*dns.Msg, error) {
	m, b, err := question(q, edns)
	if err != nil {
		return nil, err
	}
	c, done, err := connect(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, fmt.Errorf("reading an answer over TCP: %w", err)
	}
	room := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, room); err != nil {
		return nil, fmt.Errorf("reading an answer over TCP: %w", err)
	}
	r := answerTo(m, room)
	if r == nil || r.Truncated {
		return nil, errLies
	}
	return r, nil
}

// answerTo returns the message in b if it answers m, else nil. The header and
// the question are looked at before the rest is read.
func answerTo(m *dns.Msg, b []byte) *dns.Msg {
	const header = 12
	if len(b) < header || binary.BigEndian.Uint16(b) != m.Id {
		return nil
	}
	r := new(dns.Msg)
	err := r.Unpack(b)
	if !r.Response || r.Opcode != dns.OpcodeQuery {
		return nil
	}
	if len(r.Question) == 0 && r.Rcode == dns.RcodeFormatError {
		return r // it may not have got so far as to read the question
	}
	if len(r.Question) != 1 {
		return nil
	}
	asked, told := m.Question[0], r.Question[0]
	if told.Qtype != asked.Qtype || told.Qclass != asked.Qclass || !strings.EqualFold(told.Name, asked.Name) {
		return nil
	}
	if err != nil {
		if !r.Truncated {
			return nil
		}
		r.Answer, r.Ns, r.Extra = nil, nil, nil // cut within a record: TCP has it whole
	}
	return r
}
