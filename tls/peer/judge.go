package peer

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"
)

const (
	// maxResponders and maxPoints bound the servers of one certificate that
	// are asked.
	maxResponders, maxPoints = 2, 4
	// retryDoubt is how long a verdict counts that was given without knowing.
	retryDoubt = firstPause
)

// asking is what may be done for what is not known.
type asking uint8

const (
	nothing asking = iota
	aside          // what is old may be renewed, and nobody waits for that
	andWait
)

// revocation asks about each certificate of the paths but its end, and returns
// the identity of the first path that may pass. known is false if it would have
// to wait and may not.
func (v *Verifier) revocation(ctx context.Context, paths []*path, now time.Time, may asking) (id *Identity, known bool, err error) {
	if v.opts.Revocation == Skip {
		return paths[0].id, true, nil
	}
	// Mostly all is known, and nothing need be set up to wait.
	if id, known, err = v.firstThatPasses(ctx, paths, now, min(may, aside)); known || may != andWait {
		return id, known, err
	}
	asked, cancel := context.WithTimeout(ctx, v.opts.Timeout)
	defer cancel()
	id, _, err = v.firstThatPasses(asked, paths, now, andWait)
	if err != nil && ctx.Err() != nil {
		return nil, true, ctx.Err() // the client has gone, or the handshake's time is over
	}
	return id, true, err
}

func (v *Verifier) firstThatPasses(ctx context.Context, paths []*path, now time.Time, may asking) (id *Identity, known bool, err error) {
	for _, p := range paths {
		id, known, fault := v.passes(ctx, p, now, may)
		switch {
		case !known:
			return nil, false, nil
		case fault == nil:
			return id, true, nil
		case err == nil:
			err = fault
		}
	}
	return nil, true, err
}

// passes judges one path.
func (v *Verifier) passes(ctx context.Context, p *path, now time.Time, may asking) (id *Identity, known bool, err error) {
	passed := *p.id
	certs := passed.Chain
	var told [revoked + 1]uint64 // by state
	for i := range len(certs) - 1 {
		s, known := v.ask(ctx, certs[i], certs[i+1], now, may)
		if !known {
			return nil, false, nil
		}
		told[s.state]++
		if !s.until.IsZero() && s.until.Before(passed.Until) {
			passed.Until = s.until
		}
		if s.state == revoked {
			err = refuse(Revoked, certs[i], nil)
			break
		}
		if s.state == unknown && v.opts.Revocation == Strict {
			err = refuse(RevocationUnknown, certs[i], s.err)
			break
		}
		if s.state == unknown && passed.Doubt == nil {
			passed.Doubt = s.err
		}
	}
	v.shared.counts.checked(told)
	if err != nil {
		return nil, true, err
	}
	return &passed, true, nil
}

// ask returns what is known of one certificate: by the configured lists, then by
// OCSP, and at last by the lists at its distribution points.
func (v *Verifier) ask(ctx context.Context, cert, issuer *x509.Certificate, now time.Time, may asking) (s status, known bool) {
	s = v.askLists(cert, issuer, now)
	if s.state == unknown && len(cert.OCSPServer) > 0 {
		next, known := v.askResponders(ctx, cert, issuer, now, may)
		if !known {
			return s, false
		}
		s = s.then(next)
	}
	if s.state == unknown && len(cert.CRLDistributionPoints) > 0 {
		next, known := v.askPoints(ctx, cert, issuer, now, may)
		if !known {
			return s, false
		}
		s = s.then(next)
	}
	if s.state == unknown && !lasting(s.err) {
		s.until = now.Add(retryDoubt)
	}
	return s, true
}

// then is what is known after somebody else was asked, who did say next.
func (s status) then(next status) status {
	if next.state == unknown && doubtOf(s.err) != NoSource {
		next.err = fmt.Errorf("%w; then %w", s.err, next.err)
	}
	return next
}

// lasting reports whether asking again could not tell more.
func lasting(err error) bool { return doubtOf(err) == NoSource }

// askLists asks the configured lists. One that says revoked is believed whatever
// the others say.
func (v *Verifier) askLists(cert, issuer *x509.Certificate, now time.Time) status {
	best := status{err: fault(NoSource, "no list is of its issuer, and it names no server")}
	for _, src := range v.lists {
		for _, c := range src.of(issuer) {
			s := c.status(cert, issuer, now)
			switch {
			case s.state == revoked:
				return s
			case best.state == unknown:
				best = s
			case s.state == good && s.until.After(best.until):
				best = s
			}
		}
	}
	return best
}
