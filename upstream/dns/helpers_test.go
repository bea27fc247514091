package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/upstream"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// table is name servers that answer from a table.
type table struct {
	mu    sync.Mutex
	zone  map[string][]string // "A shop.test.": records, or an error code alone
	extra []string            // sent along with answers that are no errors
	asked []string            // "A shop.test.", with @server if it is not the first one
	gate  chan struct{}       // if not nil, answers wait until it is closed
}

var _ exchanger = (*table)(nil)

var errSilence = errors.New("silence")

func (s *table) exchange(ctx context.Context, server netip.AddrPort, q dns.Question) (*dns.Msg, error) {
	key := dns.TypeToString[q.Qtype] + " " + q.Name
	s.mu.Lock()
	list, there := s.zone[key]
	extra, gate := s.extra, s.gate
	if server != serverOne {
		key += "@" + server.String()
		if own, ok := s.zone[key]; ok {
			list, there = own, true
		}
	}
	s.asked = append(s.asked, key)
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m := new(dns.Msg)
	m.Question = []dns.Question{q}
	m.Response, m.RecursionAvailable = true, true
	switch {
	case !there:
		m.Rcode = dns.RcodeNameError
		s.mu.Lock()
		for k := range s.zone {
			if strings.HasSuffix(k, " "+q.Name) {
				m.Rcode = dns.RcodeSuccess
			}
		}
		s.mu.Unlock()
	case len(list) == 1 && list[0] == "silence":
		<-ctx.Done()
		return nil, errSilence
	case len(list) == 1 && list[0] == "panic":
		panic("a bug")
	case len(list) > 0 && dns.StringToRcode[list[0]] != 0:
		m.Rcode = dns.StringToRcode[list[0]]
		m.Answer = rrs(list[1:])
	default:
		m.Answer, m.Extra = rrs(list), rrs(extra)
	}
	return m, nil
}

func rrs(list []string) []dns.RR {
	var out []dns.RR
	for _, text := range list {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		out = append(out, rr)
	}
	return out
}

func (s *table) set(key string, list ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.zone == nil {
		s.zone = make(map[string][]string)
	}
	if list == nil {
		delete(s.zone, key)
		return
	}
	s.zone[key] = list
}

func (s *table) hold(gate chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
}

// took returns what was asked since the last call.
func (s *table) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.asked
	s.asked = nil
	return list
}

var (
	serverOne = netip.MustParseAddrPort("192.0.2.53:53")
	serverTwo = netip.MustParseAddrPort("192.0.2.54:53")
)

// settings returns those of a fresh configuration, but for files, with changes.
func settings(changes ...func(*Settings)) *Settings {
	s := &Settings{
		Servers: []netip.AddrPort{serverOne},
		Order:   []Type{Last, SRV, A, AAAA, CNAME},
		MinTTL:  time.Second, MaxTTL: 24 * time.Hour, Stale: time.Hour,
		NotFound: 30 * time.Second, Error: time.Second, CacheNames: 100,
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// order changes the order.
func order(types ...Type) func(*Settings) { return func(s *Settings) { s.Order = types } }

// search sets search domains.
func search(ndots int, domains ...string) func(*Settings) {
	return func(s *Settings) { s.Ndots, s.Search = &ndots, domains }
}

// start returns a resolver that is closed with the test.
func start(t *testing.T, s *Settings, x exchanger) *Resolver {
	t.Helper()
	r := newResolver(s, quiet(), new(telemetry.NameCounters), x)
	t.Cleanup(r.Close)
	return r
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// resolve returns the records as text, or the error's.
func resolve(t *testing.T, r *Resolver, name string) string {
	t.Helper()
	a, err := r.Resolve(t.Context(), name)
	if err != nil {
		if !errors.Is(err, upstream.ErrName) {
			t.Errorf("resolving %q: %v, want ErrName", name, err)
		}
		return "error"
	}
	return text(a)
}

// text writes records as address, :port, *weight and (name), where there are.
func text(a upstream.Answer) string {
	var list []string
	for _, r := range a.Records {
		s := r.Addr.String()
		if r.Port != 0 {
			s = netip.AddrPortFrom(r.Addr, r.Port).String()
		}
		if r.Weight != 1 {
			s += fmt.Sprintf("*%d", r.Weight)
		}
		if r.Name != "" {
			s += "(" + r.Name + ")"
		}
		list = append(list, s)
	}
	return strings.Join(list, " ")
}

// wantAsked fails the test unless just these questions were asked, in any order.
func wantAsked(t *testing.T, s *table, want ...string) {
	t.Helper()
	got := s.took()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// server is a name server on UDP and TCP, on a port of 127.0.0.1.
type server struct {
	at  netip.AddrPort
	mu  sync.Mutex
	log []string // "udp A" for each question
}

// serve starts a server that hands each question to handle, which says over
// which network it came.
func serve(t *testing.T, handle func(w dns.ResponseWriter, r *dns.Msg, network string)) *server {
	t.Helper()
	s := new(server)
	packets, stream := listenBoth(t)
	s.at = netip.MustParseAddrPort(packets.LocalAddr().String())
	var running sync.WaitGroup
	var ending []*dns.Server
	for network, d := range map[string]*dns.Server{"udp": {PacketConn: packets}, "tcp": {Listener: stream}} {
		started := make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		d.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
			s.mu.Lock()
			s.log = append(s.log, network+" "+dns.TypeToString[r.Question[0].Qtype])
			s.mu.Unlock()
			handle(w, r, network)
		})
		running.Go(func() {
			if err := d.ActivateAndServe(); err != nil {
				t.Errorf("serving %s: %v", network, err)
			}
		})
		<-started
		ending = append(ending, d)
	}
	t.Cleanup(func() {
		for _, d := range ending {
			if err := d.Shutdown(); err != nil {
				t.Errorf("ending the server: %v", err)
			}
		}
		running.Wait()
	})
	return s
}

// listenBoth opens a port for both networks.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stream, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, stream
		}
		packets.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

// took returns what was asked.
func (s *server) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// honest answers a question as it is to be.
func honest(r *dns.Msg, list ...string) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(r)
	m.RecursionAvailable = true
	m.Answer = rrs(list)
	return m
}

// send writes a message.
func send(w dns.ResponseWriter, m *dns.Msg) { _ = w.WriteMsg(m) }
