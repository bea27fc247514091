// Package zone is a name server for tests that takes dynamic updates.
package zone

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Name and value of the key that signs updates of a Server.
const (
	KeyName = "updates.test."
	Key     = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
)

// Server is a name server for names below test and example.com, all of which lead to
// 127.0.0.1. It takes updates of TXT records (RFC 2136) that are signed with Key.
type Server struct {
	Addr string // host:port, of UDP and TCP

	mu      sync.Mutex
	txt     map[string][]string
	cnames  map[string]string
	updates []string
	open    bool // updates need no signature
	hide    int  // questions for TXT records that are still to be answered with none
}

// Start starts a name server; the test's end stops it.
func Start(t testing.TB) *Server {
	t.Helper()
	z := &Server{txt: make(map[string][]string), cnames: make(map[string]string)}
	ln, packets := listen(t)
	z.Addr = ln.Addr().String()
	var done sync.WaitGroup
	for _, s := range []*dns.Server{{Listener: ln}, {PacketConn: packets}} {
		s.Handler, s.TsigSecret = z, map[string]string{KeyName: Key}
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept } // updates too
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		done.Go(func() { _ = s.ActivateAndServe() }) // ends when it is shut down
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	t.Cleanup(func() {
		ln.Close()
		packets.Close()
		done.Wait()
	})
	return z
}

// listen returns sockets of TCP and UDP at one address.
func listen(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", ln.Addr().String())
		if err == nil {
			return ln, packets
		}
		ln.Close()
	}
	t.Fatal("no port is free for TCP and UDP")
	return nil, nil
}

// Hide has the next questions for TXT records answered with none, as by a server
// that the records have not reached yet.
func (z *Server) Hide(questions int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.hide = questions
}

// Open has updates taken that are not signed.
func (z *Server) Open() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.open = true
}

// Lead sets a CNAME, in place of one that is there.
func (z *Server) Lead(name, target string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.cnames[dns.CanonicalName(name)] = dns.Fqdn(target)
}

// Set sets a TXT record.
func (z *Server) Set(name, value string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.txt[dns.CanonicalName(name)] = append(z.txt[dns.CanonicalName(name)], value)
}

// TXT returns the records of a name.
func (z *Server) TXT(name string) []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.txt[dns.CanonicalName(name)])
}

// Updates returns the names of all records that were added or removed, in their
// order, with + or - in front.
func (z *Server) Updates() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.updates)
}

// ServeDNS answers one message.
func (z *Server) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	res := new(dns.Msg)
	res.SetReply(m)
	res.Authoritative = true
	switch m.Opcode {
	case dns.OpcodeUpdate:
		switch sig := m.IsTsig(); {
		case sig == nil && z.isOpen():
			z.update(m)
		case sig == nil || w.TsigStatus() != nil:
			res.Rcode = dns.RcodeNotAuth
		default:
			z.update(m)
			res.SetTsig(KeyName, sig.Algorithm, 300, time.Now().Unix())
		}
	default:
		z.answer(m.Question[0], res)
	}
	_ = w.WriteMsg(res) // who has left asks again
}

func (z *Server) isOpen() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.open
}

func (z *Server) answer(q dns.Question, res *dns.Msg) {
	name := dns.CanonicalName(q.Name)
	head := func(t uint16) dns.RR_Header { return dns.RR_Header{Name: q.Name, Rrtype: t, Class: dns.ClassINET} }
	switch q.Qtype {
	case dns.TypeSOA:
		if name == "test." || name == "example.com." {
			res.Answer = append(res.Answer, &dns.SOA{Hdr: head(q.Qtype), Ns: "ns." + name, Mbox: "who." + name, Serial: 1})
		}
	case dns.TypeA:
		res.Answer = append(res.Answer, &dns.A{Hdr: head(q.Qtype), A: net.IPv4(127, 0, 0, 1)})
	case dns.TypeTXT:
		z.mu.Lock()
		defer z.mu.Unlock()
		if z.hide > 0 {
			z.hide--
			return
		}
		if target, ok := z.cnames[name]; ok {
			h := head(dns.TypeCNAME)
			res.Answer = append(res.Answer, &dns.CNAME{Hdr: h, Target: target})
			q.Name, name = target, dns.CanonicalName(target)
		}
		for _, value := range z.txt[name] {
			res.Answer = append(res.Answer, &dns.TXT{Hdr: head(q.Qtype), Txt: []string{value}})
		}
	case dns.TypeCNAME:
		z.mu.Lock()
		defer z.mu.Unlock()
		if target, ok := z.cnames[name]; ok {
			res.Answer = append(res.Answer, &dns.CNAME{Hdr: head(q.Qtype), Target: target})
		}
	}
}

func (z *Server) update(m *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, rr := range m.Ns {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		name, value := dns.CanonicalName(txt.Hdr.Name), strings.Join(txt.Txt, "")
		if txt.Hdr.Class == dns.ClassNONE { // RFC 2136 section 2.5.4
			z.updates = append(z.updates, "-"+name)
			z.txt[name] = slices.DeleteFunc(z.txt[name], func(v string) bool { return v == value })
			continue
		}
		z.updates = append(z.updates, "+"+name)
		z.txt[name] = append(z.txt[name], value)
	}
}
