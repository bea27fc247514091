package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// silentFor is how long a server that did not answer is asked after the others.
const silentFor = 10 * time.Second

// servers are name servers that know the same. Safe for concurrent use.
type servers struct {
	list []netip.AddrPort
	next atomic.Uint32  // who is first, if they take turns
	late []atomic.Int64 // by server: sock.Now until which it is asked last
}

func newServers(list []netip.AddrPort) *servers {
	s := &servers{list: list, late: make([]atomic.Int64, len(list))}
	for i := range s.late {
		s.late[i].Store(-1 << 63)
	}
	return s
}

// order returns the indices of the servers in the order they are asked in.
func (s *servers) order(rotate bool) []int {
	first := 0
	if rotate && len(s.list) > 1 {
		first = int((s.next.Add(1) - 1) % uint32(len(s.list)))
	}
	order := make([]int, len(s.list))
	for i := range order {
		order[i] = (first + i) % len(s.list)
	}
	now := sock.Now()
	slices.SortStableFunc(order, func(a, b int) int {
		return s.isLate(a, now) - s.isLate(b, now)
	})
	return order
}

func (s *servers) isLate(i int, now int64) int {
	if now < s.late[i].Load() {
		return 1
	}
	return 0
}

// ask asks the servers one after the other, and all again, until one has an
// answer. What it returns has the code for success or for a name that does not
// exist.
func (s *servers) ask(ctx context.Context, x exchanger, p *plan, q dns.Question) (*dns.Msg, error) {
	if len(s.list) == 0 {
		return nil, errors.New("there is no name server to ask")
	}
	var errs []error
	for round := range p.attempts {
		for _, i := range s.order(p.rotate) {
			m, err := s.try(ctx, x, p.timeout, i, q)
			if err == nil {
				return m, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if round == 0 {
				errs = append(errs, fmt.Errorf("server %s: %w", s.list[i], err))
			}
		}
	}
	return nil, errors.Join(errs...)
}

func (s *servers) try(ctx context.Context, x exchanger, timeout time.Duration, i int, q dns.Question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m, err := x.exchange(ctx, s.list[i], q)
	if err != nil {
		s.late[i].Store(sock.Now() + int64(silentFor))
		return nil, err
	}
	s.late[i].Store(-1 << 63)
	switch {
	case m.Rcode == dns.RcodeNameError:
		return m, nil
	case m.Rcode != dns.RcodeSuccess:
		return nil, fmt.Errorf("the answer is %s", rcode(m.Rcode))
	case len(m.Answer) == 0 && !m.Authoritative && !m.RecursionAvailable:
		return nil, errors.New("the answer is a referral: the server does not resolve names for us")
	}
	return m, nil
}

func rcode(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return fmt.Sprintf("code %d", code)
}
