package issuer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"
)

// Bounds on what DNS-01 takes.
const (
	dnsTimeout   = 10 * time.Second // one question, or one update
	dnsInterval  = 500 * time.Millisecond
	hookTimeout  = time.Minute
	hookKill     = time.Second // for what the hook has left behind to let go of its output
	maxHookWords = 2 << 10     // bytes that are told of its output
)

// dnsProof solves DNS-01 (RFC 8555 section 8.4) for one order, on one goroutine.
type dnsProof struct {
	dns *DNS
	at  string // where the record was set, with a dot at its end; empty: it was not yet
}

var (
	_ acmez.Solver = (*dnsProof)(nil)
	_ acmez.Waiter = (*dnsProof)(nil)
)

// Present sets the record.
func (p *dnsProof) Present(ctx context.Context, c acme.Challenge) error {
	at := dns.Fqdn(c.DNS01TXTRecordName())
	switch {
	case p.dns.Alias != "":
		at = dns.Fqdn(p.dns.Alias)
	case len(p.dns.Follow) > 0:
		target, err := follow(ctx, p.dns.Follow, at)
		if err != nil {
			return fmt.Errorf("asking where %q leads: %w", at, err)
		}
		at = target
	}
	p.at = at
	return p.change(ctx, "present", c)
}

// CleanUp removes it.
func (p *dnsProof) CleanUp(ctx context.Context, c acme.Challenge) error {
	if p.at == "" {
		return nil // nothing was set
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	return p.change(ctx, "cleanup", c)
}

func (p *dnsProof) change(ctx context.Context, action string, c acme.Challenge) error {
	if p.dns.Update != nil {
		return p.dns.Update.change(ctx, action == "present", p.at, c.DNS01KeyAuthorization())
	}
	return runHook(ctx, p.dns.Hook, action, c.Identifier.Value, p.at, c.DNS01KeyAuthorization())
}

var errNotShown = errors.New("not all name servers show the record")

// Wait waits until every resolver shows the record.
func (p *dnsProof) Wait(ctx context.Context, c acme.Challenge) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.dns.Delay+p.dns.Timeout, errNotShown)
	defer cancel()
	if !sleep(ctx, p.dns.Delay) {
		return context.Cause(ctx)
	}
	var servers []string
	for _, r := range p.dns.Resolvers {
		servers = append(servers, r.String())
	}
	if len(servers) == 0 && p.dns.Update != nil {
		servers = append(servers, p.dns.Update.Server)
	}
	for {
		servers = slices.DeleteFunc(servers, func(server string) bool {
			return shows(ctx, server, p.at, c.DNS01KeyAuthorization())
		})
		if len(servers) == 0 {
			return nil
		}
		if !sleep(ctx, dnsInterval) {
			return fmt.Errorf("asking %s: %w", strings.Join(servers, ", "), context.Cause(ctx))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// shows reports whether a server has a record.
func shows(ctx context.Context, server, name, value string) bool {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeTXT)
	res, err := query(ctx, server, m, nil)
	if err != nil || res.Rcode != dns.RcodeSuccess {
		return false
	}
	for _, rr := range res.Answer { // a CNAME's target counts as well
		if txt, ok := rr.(*dns.TXT); ok && strings.Join(txt.Txt, "") == value {
			return true
		}
	}
	return false
}

// query asks over TCP, which needs no size and cannot be forged from aside.
func query(ctx context.Context, server string, m *dns.Msg, secrets map[string]string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	c := &dns.Client{Net: "tcp", Timeout: dnsTimeout, TsigSecret: secrets}
	res, _, err := c.ExchangeContext(ctx, m, server)
	return res, err
}

// change adds or removes a TXT record (RFC 2136 section 2.5).
func (u *Update) change(ctx context.Context, add bool, name, value string) error {
	zone := dns.Fqdn(u.Zone)
	if u.Zone == "" {
		var err error
		if zone, err = u.findZone(ctx, name); err != nil {
			return err
		}
	}
	m := new(dns.Msg)
	m.SetUpdate(zone)
	rr := []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: u.TTL}, Txt: []string{value},
	}}
	if add {
		m.Insert(rr)
	} else {
		m.Remove(rr)
	}
	var secrets map[string]string
	if u.KeyName != "" {
		secrets = map[string]string{dns.CanonicalName(u.KeyName): u.Key}
		m.SetTsig(dns.CanonicalName(u.KeyName), dns.Fqdn(u.Algorithm), 300, time.Now().Unix())
	}
	res, err := query(ctx, u.Server, m, secrets)
	if err != nil {
		return fmt.Errorf("updating the zone %q at %q: %w", zone, u.Server, err)
	}
	if res.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("updating the zone %q at %q: the server answers %s", zone, u.Server, dns.RcodeToString[res.Rcode])
	}
	return nil
}

var errNoZone = errors.New("the server has none of them; name the zone")

// findZone asks the server for the zone that a name is in.
func (u *Update) findZone(ctx context.Context, name string) (string, error) {
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		m := new(dns.Msg)
		m.SetQuestion(name[off:], dns.TypeSOA)
		res, err := query(ctx, u.Server, m, nil)
		if err != nil {
			return "", fmt.Errorf("asking %q for a zone: %w", u.Server, err)
		}
		for _, rr := range res.Answer {
			if soa, ok := rr.(*dns.SOA); ok && res.Authoritative {
				return soa.Hdr.Name, nil
			}
		}
	}
	return "", fmt.Errorf("asking %q for the zone of %q: %w", u.Server, name, errNoZone)
}

// runHook runs a program that sets or removes a record. It is told by its
// environment, and gets nothing else of ours.
func runHook(ctx context.Context, hook []string, action, domain, record, value string) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, hook[0], hook[1:]...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"BULWARK_ACME_ACTION=" + action, "BULWARK_ACME_DOMAIN=" + domain,
		"BULWARK_ACME_RECORD=" + record, "BULWARK_ACME_VALUE=" + value,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it has started
	words := new(head)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = words, words, hookKill
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // it went well, and what it has left behind holds its output
		_ = cmd.Cancel()
		err = nil
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return fmt.Errorf("running %q to %s a record: %w: %s", hook[0], action, err, strings.TrimSpace(words.kept.String()))
	}
	return nil
}

// head keeps the first bytes that are written. It is a Writer and no more, so that
// nobody reads past it into what it keeps.
type head struct{ kept bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.kept.Write(p[:min(len(p), maxHookWords-h.kept.Len())])
	return len(p), nil
}
