package peer

import (
	"bytes"
	"context"
	"crypto/x509"
	"sync/atomic"
	"time"
)

const (
	// refreshCRL is how long a list counts before it is fetched again, if its
	// own time is not over sooner.
	refreshCRL = 10 * time.Minute
	// soonestCRL is the least time between two fetches of a list.
	soonestCRL = time.Minute
	// unusedCRL is how long a list that nobody asks for is kept fresh.
	unusedCRL = 24 * time.Hour
	// refreshTimeout bounds the fetch of a list for which nobody waits.
	refreshTimeout = time.Minute
)

// crlKey is a list at a distribution point, by the issuer who must have signed it.
type crlKey struct {
	url    string
	issuer issuerID
}

// fetchedCRL is the last list that could be believed, if there was one, and what
// came of fetching it since. All but lastUsed is immutable.
type fetchedCRL struct {
	key     crlKey
	issuer  *x509.Certificate
	list    *crl // nil: there is none
	from    validators
	fetched time.Time
	pause   pause

	lastUsed *atomic.Int64 // Unix seconds; shared with what follows
}

func (k *fetchedCRL) used() time.Time { return time.Unix(k.lastUsed.Load(), 0) }

// due reports whether the list is to be fetched again: after refreshCRL, or when
// three quarters of its own time are over.
func (k *fetchedCRL) due(now time.Time) bool {
	if now.Before(k.pause.until) {
		return false
	}
	if k.list == nil {
		return true
	}
	life := k.list.nextUpdate.Sub(k.list.thisUpdate)
	at := k.list.thisUpdate.Add(life / 4 * 3)
	if latest := k.fetched.Add(refreshCRL); latest.Before(at) {
		at = latest
	}
	if soonest := k.fetched.Add(soonestCRL); at.Before(soonest) {
		at = soonest
	}
	return !now.Before(at)
}

// usable reports whether the list's time is not over.
func (k *fetchedCRL) usable(now time.Time) bool {
	return k != nil && k.list != nil && !now.After(k.list.nextUpdate)
}

// askPoints asks the lists at the certificate's distribution points, one after
// the other, until one of them knows.
func (v *Verifier) askPoints(ctx context.Context, cert, issuer *x509.Certificate, now time.Time, may asking) (s status, known bool) {
	id := issuerOf(issuer)
	points := cert.CRLDistributionPoints
	for i, point := range points[:min(len(points), maxPoints)] {
		one, known := v.askPoint(ctx, crlKey{point, id}, cert, issuer, now, may)
		if !known {
			return s, false
		}
		if one.state != unknown {
			return one, true
		}
		if i == 0 || doubtOf(s.err) == BadURL { // LDAP stands in front of HTTP at times
			s = one
		}
	}
	return s, true
}

func (v *Verifier) askPoint(ctx context.Context, key crlKey, cert, issuer *x509.Certificate, now time.Time, may asking) (s status, known bool) {
	r := v.shared
	if _, err := parseURL(key.url); err != nil {
		return status{err: err}, true
	}
	have, ok := r.crls.get(key)
	if !ok {
		have = &fetchedCRL{key: key, issuer: issuer, lastUsed: new(atomic.Int64)}
	}
	have.lastUsed.Store(now.Unix())
	switch {
	case have.usable(now):
		if may != nothing && have.due(now) {
			r.fetchCRL(key, have, refreshTimeout)
		}
	case now.Before(have.pause.until):
	case may != andWait:
		return s, false
	default:
		if err := await(ctx, r.fetchCRL(key, have, v.opts.Timeout)); err != nil {
			return status{err: err}, true
		}
		if have, ok = r.crls.get(key); !ok {
			return status{err: fault(TooLarge, "the list was crowded out by others")}, true
		}
	}
	if have.list == nil {
		return status{err: have.pause.err}, true
	}
	return have.status(cert, now), true
}

// status says what the list does, and when to ask again.
func (k *fetchedCRL) status(cert *x509.Certificate, now time.Time) status {
	s := k.list.status(cert, k.issuer, now)
	if s.state == unknown && k.pause.err != nil && doubtOf(s.err) == Stale {
		s.err = k.pause.err // why there is no newer one
	}
	if s.state == revoked && !s.until.After(now) {
		s.until = now.Add(retryDoubt)
	}
	return s
}

// fetchCRL fetches a list aside; what it returns closes when that has ended.
func (r *Revocation) fetchCRL(key crlKey, have *fetchedCRL, timeout time.Duration) <-chan struct{} {
	return r.start(key, timeout, func(ctx context.Context) {
		if now, ok := r.crls.get(key); ok && now != have {
			return // another question has just ended
		}
		next := *have
		next.fetched = r.now()
		err := r.download(ctx, &next)
		r.counts.fetched(&r.counts.crl, err)
		if err != nil {
			next.fetched = have.fetched
			next.pause = have.pause.after(r.now(), err)
			r.log.Warn("cannot fetch a revocation list", "url", shorten(key.url), "reason", doubtOf(err).String(), "error", err)
		} else {
			next.pause = pause{}
		}
		weight := 4096
		if next.list != nil {
			weight = next.list.weight()
		}
		r.crls.put(key, &next, weight)
		if next.list != have.list {
			r.change()
		}
	})
}

// download puts a newer list into k, or nothing if there is no other.
func (r *Revocation) download(ctx context.Context, k *fetchedCRL) error {
	u, err := parseURL(k.key.url)
	if err != nil {
		return err
	}
	doc, err := r.fetch.do(ctx, u, nil, "", maxCRLBytes, k.from)
	if err != nil || doc.unchanged {
		return err
	}
	list, err := parseCRL(doc.body)
	if err != nil {
		return err
	}
	now := r.now()
	switch {
	case !list.signedBy(k.issuer):
		return &Fault{Forged, errForged}
	case list.thisUpdate.After(now.Add(skew)):
		return fault(Early, "the list is of %s", list.thisUpdate.UTC().Format(time.RFC3339))
	case k.usable(now) && !list.newer(k.list), k.list != nil && list.thisUpdate.Before(k.list.thisUpdate):
		// Whoever replays an older list does not undo what a newer one has said.
		return fault(Older, "the list is of %s, the one that is known of %s", list.thisUpdate.UTC().Format(time.RFC3339), k.list.thisUpdate.UTC().Format(time.RFC3339))
	case k.list != nil && bytes.Equal(k.list.signature, list.signature):
		k.from = doc.validators
		return nil // the same one
	}
	list.settle()
	k.list, k.from = list, doc.validators
	if now.After(list.nextUpdate) {
		// It is kept for what it says is revoked.
		return fault(Stale, "the next list was to come by %s", list.nextUpdate.UTC().Format(time.RFC3339))
	}
	return nil
}
