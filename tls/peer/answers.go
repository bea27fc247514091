package peer

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"time"
)

// answerKey is what an answer of OCSP is about.
type answerKey struct {
	issuer issuerID
	serial string
	nonce  bool // the answer was made for our question
}

// knownAnswer is the last answer that counted, if there was one, and what came of
// asking since. It is immutable.
type knownAnswer struct {
	answer
	fetched time.Time // zero: there is no answer
	pause   pause
}

// holds reports whether there is an answer that counts.
func (k *knownAnswer) holds(now time.Time) bool {
	return k != nil && !k.fetched.IsZero() && k.check(now) == nil
}

// askResponders asks by OCSP. An answer counts for Options.CacheTTL. In as much
// time again it still does, while a newer one is fetched aside; after that it
// counts only if no newer one can be had, to the end that it tells.
func (v *Verifier) askResponders(ctx context.Context, cert, issuer *x509.Certificate, now time.Time, may asking) (s status, known bool) {
	key := answerKey{issuerOf(issuer), string(cert.SerialNumber.Bytes()), v.opts.Nonce}
	have, _ := v.shared.answers.get(key)
	if have.holds(now) {
		age := now.Sub(have.fetched)
		if age < v.opts.CacheTTL {
			return v.told(have, now), true
		}
		if age < 2*v.opts.CacheTTL {
			if may != nothing && now.After(have.pause.until) {
				v.startAnswer(key, cert, issuer)
			}
			return v.told(have, now), true
		}
	}
	if have != nil && now.Before(have.pause.until) {
		return v.told(have, now), true
	}
	if may != andWait {
		return s, false
	}
	err := await(ctx, v.startAnswer(key, cert, issuer))
	have, _ = v.shared.answers.get(key)
	if have == nil {
		if err == nil {
			err = fault(Busy, "the answer was crowded out")
		}
		return status{err: err}, true
	}
	return v.told(have, now), true
}

// told turns what is known into a status.
func (v *Verifier) told(k *knownAnswer, now time.Time) status {
	if !k.holds(now) {
		if k.state == revoked { // nobody has taken it back
			return status{state: revoked, until: now.Add(retryDoubt)}
		}
		if k.pause.err != nil {
			return status{err: k.pause.err}
		}
		return status{err: fault(Stale, "the answer was good until %s", k.end().UTC().Format(time.RFC3339))}
	}
	until := k.end()
	if next := k.fetched.Add(v.opts.CacheTTL); next.Before(until) {
		until = next
	}
	if !until.After(now) { // no newer answer can be had
		until = now.Add(retryDoubt)
	}
	return status{state: k.state, until: until}
}

func (v *Verifier) startAnswer(key answerKey, cert, issuer *x509.Certificate) <-chan struct{} {
	r := v.shared
	return r.start(key, v.opts.Timeout, func(ctx context.Context) { r.fetchAnswer(ctx, key, cert, issuer) })
}

// fetchAnswer asks the certificate's responders and keeps what came of it.
func (r *Revocation) fetchAnswer(ctx context.Context, key answerKey, cert, issuer *x509.Certificate) {
	before, _ := r.answers.get(key)
	now := r.now()
	a, err := r.askOCSP(ctx, key.nonce, cert, issuer)
	r.counts.fetched(&r.counts.ocsp, err)
	next := &knownAnswer{answer: a, fetched: now}
	switch {
	case err != nil:
		next = &knownAnswer{}
		if before != nil {
			*next = *before
		}
		next.pause = next.pause.after(now, err)
		r.log.Warn("cannot ask by OCSP whether a certificate is revoked", "certificate", told(cert.RawSubject), "reason", doubtOf(err).String(), "error", err)
	case before != nil && a.thisUpdate.Before(before.thisUpdate) && (before.state == revoked || before.holds(now)):
		// A replayed answer does not undo a newer one.
		next = &knownAnswer{answer: before.answer, fetched: before.fetched}
		next.pause = before.pause.after(now, fault(Older, "the answer is of %s", a.thisUpdate.UTC().Format(time.RFC3339)))
	}
	r.answers.put(key, next, 1)
	if before != nil && before.state != revoked && next.state == revoked {
		r.change()
	}
}

// askOCSP returns the first answer of the certificate's responders that can be
// believed, or what was wrong with the first.
func (r *Revocation) askOCSP(ctx context.Context, withNonce bool, cert, issuer *x509.Certificate) (a answer, first error) {
	for _, server := range cert.OCSPServer[:min(len(cert.OCSPServer), maxResponders)] {
		u, err := parseURL(server)
		if err == nil {
			if a, err = r.askResponder(ctx, u, withNonce, cert, issuer); err == nil {
				return a, nil
			}
		}
		if first == nil {
			first = err
		}
	}
	return answer{}, first
}

func (r *Revocation) askResponder(ctx context.Context, u *url.URL, withNonce bool, cert, issuer *x509.Certificate) (answer, error) {
	var nonce []byte
	if withNonce {
		nonce = make([]byte, nonceBytes)
		_, _ = rand.Read(nonce) // never fails
	}
	q, err := newQuestion(cert, issuer, nonce)
	if err != nil {
		return answer{}, err
	}
	_, a, err := r.put(ctx, u, q)
	return a, err
}

// put asks a responder, and returns its answer whole and read.
func (r *Revocation) put(ctx context.Context, u *url.URL, q *question) ([]byte, answer, error) {
	body, err := q.marshal()
	if err != nil {
		return nil, answer{}, fault(NotUnderstood, "writing the question: %w", err)
	}
	doc, err := r.fetch.do(ctx, u, body, "application/ocsp-request", maxOCSPBytes, validators{})
	if err != nil {
		return nil, answer{}, err
	}
	a, err := q.read(doc.body, r.now())
	return doc.body, a, err
}
