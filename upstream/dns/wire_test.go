package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bulwark-edge/bulwark/telemetry"
)

const shopA = "shop.test. 60 IN A 192.0.2.1"

// impatient makes silence short.
func impatient(list ...netip.AddrPort) *Settings {
	return settings(order(A), func(s *Settings) {
		timeout, attempts := 150*time.Millisecond, 1
		s.Servers, s.Timeout, s.Attempts = list, &timeout, &attempts
	})
}

// TestServerBehaviour shows what comes of servers that are honest, lie, break
// off or say nothing. The second server, if it is reached, has 192.0.2.2.
func TestServerBehaviour(t *testing.T) {
	mangle := func(change func(m *dns.Msg)) func(dns.ResponseWriter, *dns.Msg, string) {
		return func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			lie := honest(r, "shop.test. 60 IN A 203.0.113.66")
			change(lie)
			send(w, lie)
			send(w, honest(r, shopA))
		}
	}
	tests := []struct {
		name   string
		handle func(w dns.ResponseWriter, r *dns.Msg, network string)
		want   string
		asked  []string // of the first server
	}{
		{"honest", func(w dns.ResponseWriter, r *dns.Msg, _ string) { send(w, honest(r, shopA)) }, "192.0.2.1", []string{"udp A"}},
		{"another id first", mangle(func(m *dns.Msg) { m.Id++ }), "192.0.2.1", []string{"udp A"}},
		{"another name first", mangle(func(m *dns.Msg) { m.Question[0].Name = "bank.test." }), "192.0.2.1", []string{"udp A"}},
		{"another type first", mangle(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }), "192.0.2.1", []string{"udp A"}},
		{"another class first", mangle(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), "192.0.2.1", []string{"udp A"}},
		{"two questions first", mangle(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "192.0.2.1", []string{"udp A"}},
		{"no question first", mangle(func(m *dns.Msg) { m.Question = nil }), "192.0.2.1", []string{"udp A"}},
		{"no response first", mangle(func(m *dns.Msg) { m.Response = false }), "192.0.2.1", []string{"udp A"}},
		{"another opcode first", mangle(func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), "192.0.2.1", []string{"udp A"}},
		{"records of another name", func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			send(w, honest(r, "bank.test. 60 IN A 203.0.113.66", shopA))
		}, "192.0.2.1", []string{"udp A"}},
		{"the name in upper case", func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			m := honest(r, "SHOP.Test. 60 IN A 192.0.2.1")
			m.Question[0].Name = "SHOP.TEST."
			send(w, m)
		}, "192.0.2.1", []string{"udp A"}},
		{"rubbish first", func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			_, _ = w.Write([]byte("rubbish"))
			_, _ = w.Write(nil)
			b, _ := honest(r, shopA).Pack()
			_, _ = w.Write(b[:len(b)-2]) // a record is cut short, and nothing says so
			send(w, honest(r, shopA))
		}, "192.0.2.1", []string{"udp A"}},
		{"more than was asked for", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			var list []string
			for i := range 200 {
				list = append(list, fmt.Sprintf("shop.test. 60 IN A 203.0.113.%d", i))
			}
			if network == "udp" {
				send(w, honest(r, list...))
			}
			send(w, honest(r, shopA))
		}, "192.0.2.1", []string{"udp A"}},
		{"a flood of lies", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			for range maxLies {
				lie := honest(r, "shop.test. 60 IN A 203.0.113.66")
				lie.Id++
				if network == "udp" {
					send(w, lie)
				}
			}
			send(w, honest(r, shopA))
		}, "192.0.2.1", []string{"udp A", "tcp A"}},
		{"truncated", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			m := honest(r, shopA)
			if network == "udp" {
				m.Truncated, m.Answer = true, rrs([]string{"shop.test. 60 IN A 203.0.113.66"})
			}
			send(w, m)
		}, "192.0.2.1", []string{"udp A", "tcp A"}},
		{"truncated within a record", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			m := honest(r, shopA)
			m.Truncated = network == "udp"
			b, _ := m.Pack()
			if network == "udp" {
				b = b[:len(b)-3]
			}
			_, _ = w.Write(b)
		}, "192.0.2.1", []string{"udp A", "tcp A"}},
		{"truncated over TCP too", func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			m := honest(r, shopA)
			m.Truncated = true
			send(w, m)
		}, "192.0.2.2", []string{"udp A", "tcp A"}},
		{"TCP lies", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			m := honest(r, shopA)
			m.Truncated = network == "udp"
			if network == "tcp" {
				m.Id++
			}
			send(w, m)
		}, "192.0.2.2", []string{"udp A", "tcp A"}},
		{"TCP breaks off", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			if network == "tcp" {
				w.Close()
				return
			}
			m := honest(r)
			m.Truncated = true
			send(w, m)
		}, "192.0.2.2", []string{"udp A", "tcp A"}},
		{"TCP is silent", func(w dns.ResponseWriter, r *dns.Msg, network string) {
			m := honest(r)
			m.Truncated = true
			if network == "udp" {
				send(w, m)
			}
		}, "192.0.2.2", []string{"udp A", "tcp A"}},
		{"silent", func(dns.ResponseWriter, *dns.Msg, string) {}, "192.0.2.2", []string{"udp A"}},
		{"SERVFAIL", code(dns.RcodeServerFailure), "192.0.2.2", []string{"udp A"}},
		{"REFUSED", code(dns.RcodeRefused), "192.0.2.2", []string{"udp A"}},
		{"an unknown code", code(14), "192.0.2.2", []string{"udp A"}},
		{"NXDOMAIN counts", code(dns.RcodeNameError), "error", []string{"udp A"}},
		{"no record counts", code(dns.RcodeSuccess), "error", []string{"udp A"}},
		{"a referral", func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			m := honest(r)
			m.RecursionAvailable = false
			m.Ns = rrs([]string{"test. 60 IN NS ns.test."})
			send(w, m)
		}, "192.0.2.2", []string{"udp A"}},
		{"no EDNS", func(w dns.ResponseWriter, r *dns.Msg, _ string) {
			m := honest(r, shopA)
			if r.IsEdns0() != nil {
				m = new(dns.Msg)
				m.SetRcodeFormatError(r)
				m.Question = nil
			}
			send(w, m)
		}, "192.0.2.1", []string{"udp A", "udp A"}},
		{"never content", code(dns.RcodeFormatError), "192.0.2.2", []string{"udp A", "udp A"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first := serve(t, tt.handle)
			second := serve(t, func(w dns.ResponseWriter, r *dns.Msg, _ string) {
				send(w, honest(r, "shop.test. 60 IN A 192.0.2.2"))
			})
			r := start(t, impatient(first.at, second.at), wire{})
			if got := resolve(t, r, "shop.test"); got != tt.want {
				t.Errorf("resolved to %q, want %q", got, tt.want)
			}
			if got := first.took(); !slices.Equal(got, tt.asked) {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
		})
	}
}

// code answers with a code and nothing else.
func code(n int) func(dns.ResponseWriter, *dns.Msg, string) {
	return func(w dns.ResponseWriter, r *dns.Msg, _ string) {
		m := honest(r)
		m.Rcode = n
		send(w, m)
	}
}

func TestQuestion(t *testing.T) {
	var mu sync.Mutex
	ids, ports := make(map[uint16]bool), make(map[string]bool)
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg, _ string) {
		if e := r.IsEdns0(); e == nil || e.UDPSize() != ednsBytes || !r.RecursionDesired || len(r.Question) != 1 {
			t.Errorf("asked %v", r)
		}
		mu.Lock()
		ids[r.Id], ports[w.RemoteAddr().String()] = true, true
		mu.Unlock()
		send(w, honest(r, shopA))
	})
	q := dns.Question{Name: "shop.test.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := (wire{}).exchange(ctx, s.at, q); err != nil {
			t.Error(err)
		}
		cancel()
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 18 || len(ports) < 10 {
		t.Errorf("%d ids and %d ports in 20 questions", len(ids), len(ports))
	}
}

// TestOtherSource shows that an answer from elsewhere does not count, even if
// all else is right.
func TestOtherSource(t *testing.T) {
	liar, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer liar.Close()
	s := serve(t, func(w dns.ResponseWriter, r *dns.Msg, _ string) {
		b, _ := honest(r, "shop.test. 60 IN A 203.0.113.66").Pack()
		if _, err := liar.WriteTo(b, w.RemoteAddr()); err != nil {
			t.Error(err)
		}
		send(w, honest(r, shopA))
	})
	if got := resolve(t, start(t, impatient(s.at), wire{}), "shop.test"); got != "192.0.2.1" {
		t.Errorf("resolved to %q", got)
	}
}

// TestNobodyListens shows that a closed port is an error at once, and what an
// operator reads.
func TestNobodyListens(t *testing.T) {
	packets, stream := listenBoth(t)
	at := netip.MustParseAddrPort(packets.LocalAddr().String())
	packets.Close()
	stream.Close()
	r := start(t, settings(order(A), func(s *Settings) { s.Servers = []netip.AddrPort{at} }), wire{})
	_, err := r.Resolve(t.Context(), "shop.test")
	if err == nil || !strings.Contains(err.Error(), at.String()) || !strings.Contains(err.Error(), `asking for the A record of "shop.test."`) {
		t.Errorf("error %v", err)
	}
}

// TestManyRecords shows that a long answer arrives whole, by TCP, and that there
// is a bound.
func TestManyRecords(t *testing.T) {
	for _, n := range []int{100, maxRecords, maxRecords + 100} {
		s := serve(t, func(w dns.ResponseWriter, r *dns.Msg, network string) {
			m := honest(r)
			for i := range n {
				m.Answer = append(m.Answer, rrs([]string{fmt.Sprintf("shop.test. 60 IN A 10.0.%d.%d", i/256, i%256)})...)
			}
			if network == "udp" {
				m.Truncate(ednsBytes)
			}
			send(w, m)
		})
		slow := patience // for as many records are not made in no time
		one := settings(order(A), func(c *Settings) { c.Servers, c.Timeout = []netip.AddrPort{s.at}, &slow })
		a, err := start(t, one, wire{}).Resolve(t.Context(), "shop.test")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(a.Records), min(n, maxRecords); got != want {
			t.Errorf("%d records of %d, want %d", got, n, want)
		}
		if got := s.took(); !slices.Equal(got, []string{"udp A", "tcp A"}) {
			t.Errorf("asked %q", got)
		}
	}
}

// TestCloseEndsExchanges shows that Close does not wait for silent servers.
func TestCloseEndsExchanges(t *testing.T) {
	asked := make(chan struct{}, 2)
	s := serve(t, func(_ dns.ResponseWriter, _ *dns.Msg, _ string) { asked <- struct{}{} })
	r := newResolver(settings(order(A), func(s *Settings) {
		timeout := 30 * time.Second
		s.Timeout = &timeout
	}, func(c *Settings) { c.Servers = []netip.AddrPort{s.at} }), quiet(), new(telemetry.NameCounters), wire{})
	failed := make(chan error, 1)
	go func() {
		_, err := r.Resolve(context.Background(), "shop.test")
		failed <- err
	}()
	<-asked
	began := time.Now()
	r.Close()
	if err := <-failed; err == nil || time.Since(began) > patience {
		t.Errorf("error %v after %v", err, time.Since(began))
	}
	if _, err := r.Resolve(t.Context(), "shop.test"); err == nil {
		t.Error("a closed resolver resolves")
	}
}
