package issuer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/mholt/acmez/v3/acme"
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
	fresh := i.askRenewal(ctx, ca, h)
	if r.of != nil && r.of.version == h.version && !r.at.IsZero() &&
		(fresh.start.IsZero() || fresh.start.Equal(r.start) && fresh.end.Equal(r.end)) {
		fresh.start, fresh.end, fresh.at = r.start, r.end, r.at // the window is the same: so is the time chosen
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s.renewal = fresh
	return fresh.at
}

func (i *Issuer) forgetRenewal(s *subject) {
	i.mu.Lock()
	defer i.mu.Unlock()
	s.renewal = renewal{}
}

func (i *Issuer) askRenewal(ctx context.Context, ca *CA, h *held) renewal {
	now := time.Now()
	r := renewal{of: h, again: now.Add(renewalKept)}
	ctx, cancel := context.WithTimeout(ctx, renewalTimeout)
	defer cancel()
	info, err := i.renewalInfo(ctx, ca, h)
	if err != nil {
		if !errors.Is(err, acme.ErrUnsupported) {
			i.log.Debug("asking when to renew", "name", h.leaf.Subject.String(), "ca", ca.Directory, "error", brief(err))
			r.again = now.Add(renewalShort)
		}
		return r
	}
	if info.RetryAfter != nil {
		r.again = now.Add(min(max(info.RetryAfter.Sub(now), renewalShort), renewalLong))
	}
	r.start, r.end = info.SuggestedWindow.Start, info.SuggestedWindow.End
	if r.end.After(r.start) {
		r.at = r.start.Add(rand.N(r.end.Sub(r.start)))
	}
	return r
}

func (i *Issuer) renewalInfo(ctx context.Context, ca *CA, h *held) (acme.RenewalInfo, error) {
	s, err := i.ca(*ca).open(ctx, renewalTimeout)
	if err != nil {
		return acme.RenewalInfo{}, err
	}
	return s.client.GetRenewalInfo(ctx, h.leaf)
}
