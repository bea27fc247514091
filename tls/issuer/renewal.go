package issuer

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/store"
)

// How long an authority's word on a renewal is used: as long as it says, within
// bounds (RFC 9773 section 4.3.3).
const (
	renewalKept    = 6 * time.Hour
	renewalShort   = time.Minute
	renewalLong    = 24 * time.Hour
	renewalTimeout = 30 * time.Second
)

// renewal is when an authority wants a certificate to be renewed.
type renewal struct {
	of    *held     // nil: it was not asked yet
	start time.Time // zero: it does not say
	end   time.Time
	at    time.Time // within the two
	again time.Time // when it is to be asked again
}

// renewal returns when the authority wants a certificate to be renewed, zero if
// it does not say.
func (i *Issuer) renewal(ctx context.Context, s *subject, ca *CA, h *held) time.Time {
	i.mu.Lock()
	r := s.renewal
	i.mu.Unlock()
	if r.of != nil && r.of.version == h.version && time.Now().Before(r.again) {
		return r.at
	}
	fresh := i.askRenewal(ctx, s.name, ca, h)
	if r.of != nil && r.of.version == h.version && !r.at.IsZero() &&
		(fresh.start.IsZero() || fresh.start.Equal(r.start) && fresh.end.Equal(r.end)) {
		fresh.start, fresh.end, fresh.at = r.start, r.end, r.at // the window is the same: so is the time chosen
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s.renewal = fresh
	return fresh.at
}

// madeNew forgets what was true of the certificate before.
func (i *Issuer) madeNew(s *subject) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s.renewal, s.asked = renewal{}, false
}

// maxEarly bounds how many certificates in a row are replaced before they have settled,
// as an authority may want that is about to revoke them. Who always believed it might
// order without end.
const maxEarly = 3

// settled returns when a certificate is no longer new.
func (h *held) settled() time.Time {
	life := h.leaf.NotAfter.Sub(latest(h.leaf.NotBefore, h.Ordered))
	return h.Ordered.Add(min(renewalKept, life/3))
}

// doubt marks a certificate that was just stored if its authority already wants it
// replaced before it has settled, which it then is not. The mark is stored, so that a
// restart or another node does not believe it either.
func (l *looking) doubt(ctx context.Context, h *held, fence store.Fence) *held {
	l.issuer.mu.Lock()
	told := l.subject.renewal.at
	l.issuer.mu.Unlock()
	if told.IsZero() || !told.Before(h.settled()) {
		return h
	}
	l.issuer.log.Warn("not believing an authority that wants its new certificate replaced", "name", l.subject.name, "ca", h.Directory)
	if h.Early >= maxEarly {
		return h
	}
	marked := *h
	marked.Early = maxEarly
	if err := save(ctx, l.records, l.subject.name, &marked, fence); err != nil {
		l.issuer.log.Warn("storing that an authority is not believed", "name", l.subject.name, "error", err.Error())
	}
	l.subject.held.Store(&marked)
	return &marked
}

func (i *Issuer) askRenewal(ctx context.Context, name string, ca *CA, h *held) renewal {
	now := time.Now()
	r := renewal{of: h, again: now.Add(renewalKept)}
	ctx, cancel := context.WithTimeout(ctx, renewalTimeout)
	defer cancel()
	a := i.ca(*ca)
	if !a.mayTell(now) {
		r.again = jittered(now, renewalShort)
		return r
	}
	answered := false // nor by a panic
	defer func() { a.told(answered) }()
	told, err := a.renewalInfo(ctx, h.leaf)
	switch answered = err == nil || errors.Is(err, errNoInfo); {
	case answered:
		r.start, r.end = told.SuggestedWindow.Start, told.SuggestedWindow.End
	default:
		i.log.Debug("asking when to renew", "name", name, "ca", ca.Directory, "error", brief(err))
		r.again = now.Add(renewalShort)
	}
	if !told.again.IsZero() {
		r.again = now.Add(min(max(told.again.Sub(now), renewalShort), renewalLong))
	}
	if r.end.After(r.start) {
		r.at = r.start.Add(rand.N(r.end.Sub(r.start)))
	}
	return r
}

// renewalInfo is what an authority says about a certificate (RFC 9773 section 4.2).
type renewalInfo struct {
	SuggestedWindow struct{ Start, End time.Time }
	again           time.Time // when it wants to be asked again; zero: it does not say
}

var (
	errNoInfo   = errors.New("the authority says nothing about it")
	errNoWindow = errors.New("there is no window in the answer")
)

// renewalInfo asks about a certificate. It is not left to acmez, which refuses
// windows of a second and hides what went wrong.
func (a *authority) renewalInfo(ctx context.Context, leaf *x509.Certificate) (info renewalInfo, err error) {
	s, err := a.open(ctx, renewalTimeout)
	if err != nil {
		return info, err
	}
	s.aside() // who may not ask about certificates may order all the same
	if s.ari == "" {
		return info, errNoInfo
	}
	id, err := acme.ARIUniqueIdentifier(leaf)
	if err != nil {
		return info, errNoInfo // it does not say which key has signed it
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.ari, "/")+"/"+id, nil)
	if err != nil {
		return info, err
	}
	req.Header.Set("User-Agent", a.product)
	res, err := s.client.HTTPClient.Do(req)
	if err != nil {
		return info, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return info, err
	}
	info.again = retryAfter(res.Header.Get("Retry-After"), time.Now())
	switch {
	case res.StatusCode == http.StatusNotFound:
		return info, errNoInfo
	case res.StatusCode != http.StatusOK:
		return info, fmt.Errorf("the status is %d", res.StatusCode)
	}
	if json.Unmarshal(body, &info) != nil || info.SuggestedWindow.Start.IsZero() || !info.SuggestedWindow.End.After(info.SuggestedWindow.Start) {
		info.SuggestedWindow.Start, info.SuggestedWindow.End = time.Time{}, time.Time{}
		return info, errNoWindow
	}
	return info, nil
}
