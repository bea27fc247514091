package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"sync/atomic"
	"time"
)

// Bounds of stapling. A server that cannot be had is asked again after
// firstStapleRetry, and after twice as long each time.
const (
	maxStapled       = 1000
	stapleTimeout    = 10 * time.Second
	firstStapleRetry = 5 * time.Minute
	lastStapleRetry  = 4 * time.Hour
)

// AskStaple asks what the responder of a certificate says of it, as
// peer.Revocation.Staple does. It returns only what calls the certificate good.
type AskStaple func(ctx context.Context, cert, issuer *x509.Certificate) (body []byte, made, end time.Time, err error)

// Stapler keeps answers of OCSP to show with certificates (RFC 6066 section 8).
// It asks in the background and is quiet: a certificate whose answer cannot be
// had is shown without one, and handshakes never wait. It outlives reloads. Run
// belongs to one goroutine, Staple to any number.
type Stapler struct {
	ask   AskStaple
	log   *slog.Logger
	now   func() time.Time
	known map[[sha256.Size]byte]*staple // by the certificate's digest
	shown atomic.Pointer[map[*tls.Certificate]*stapled]
}

// staple is what is known of a certificate.
type staple struct {
	body  []byte // nil: nothing
	end   time.Time
	due   time.Time     // when to ask next
	pause time.Duration // after the next failure
}

// stapled is a certificate with its answer.
type stapled struct {
	cert tls.Certificate
	end  time.Time
}

// NewStapler returns a stapler that asks nobody until it runs.
func NewStapler(ask AskStaple, log *slog.Logger) *Stapler {
	return &Stapler{ask: ask, log: log, now: time.Now, known: make(map[[sha256.Size]byte]*staple)}
}

// Staple returns the certificate with its answer, or as it is if there is none.
func (s *Stapler) Staple(c *tls.Certificate) *tls.Certificate {
	shown := s.shown.Load()
	if shown == nil {
		return c
	}
	if st := (*shown)[c]; st != nil && s.now().Before(st.end) {
		return &st.cert
	}
	return c
}

// Run keeps answers of the certificates that wanted returns, until ctx ends. It
// looks again when woken.
func (s *Stapler) Run(ctx context.Context, woken <-chan struct{}, wanted func() []*tls.Certificate) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-timer.C:
		}
		timer.Reset(s.round(ctx, wanted()))
	}
}

// round asks what is due, shows what there is, and returns how long nothing is
// due.
func (s *Stapler) round(ctx context.Context, wanted []*tls.Certificate) (rest time.Duration) {
	known := make(map[[sha256.Size]byte]*staple)
	shown := make(map[*tls.Certificate]*stapled)
	next := s.now().Add(lastStapleRetry)
	for _, c := range wanted {
		issuer := issuerOf(c)
		if issuer == nil || len(c.Leaf.OCSPServer) == 0 || len(shown) == maxStapled {
			continue
		}
		id := sha256.Sum256(c.Leaf.Raw)
		st := known[id]
		if st == nil {
			if st = s.known[id]; st == nil {
				st = &staple{pause: firstStapleRetry}
			}
			known[id] = st
			if !s.now().Before(st.due) && ctx.Err() == nil {
				s.renew(ctx, st, c.Leaf, issuer)
			}
		}
		if st.due.Before(next) {
			next = st.due
		}
		with := &stapled{cert: *c, end: st.end}
		with.cert.OCSPStaple = st.body
		shown[c] = with
	}
	s.known = known
	if len(shown) == 0 {
		s.shown.Store(nil)
	} else {
		s.shown.Store(&shown)
	}
	return max(next.Sub(s.now()), time.Second)
}

// renew asks for an answer. The one before stays while it counts.
func (s *Stapler) renew(ctx context.Context, st *staple, cert, issuer *x509.Certificate) {
	ctx, cancel := context.WithTimeout(ctx, stapleTimeout)
	defer cancel()
	body, made, end, err := s.ask(ctx, cert, issuer)
	now := s.now()
	if err != nil {
		s.log.Debug("no OCSP answer to staple", "subject", cert.Subject.String(), "error", err.Error())
		st.due = now.Add(st.pause)
		st.pause = min(2*st.pause, lastStapleRetry)
		return
	}
	// Half of its time is left for servers that are out of order.
	st.body, st.end, st.pause = body, end, firstStapleRetry
	st.due = made.Add(end.Sub(made) / 2)
	if first := now.Add(firstStapleRetry); st.due.Before(first) {
		st.due = first
	}
}

// issuerOf returns the second certificate of the chain, or nil if there is none
// or it has not signed the first.
func issuerOf(c *tls.Certificate) *x509.Certificate {
	if c.Leaf == nil || len(c.Certificate) < 2 {
		return nil
	}
	issuer, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil || c.Leaf.CheckSignatureFrom(issuer) != nil {
		return nil
	}
	return issuer
}
