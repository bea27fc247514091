package peer

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"
)

// Staple asks the responders of one of our own certificates what they say of it,
// and returns the answer as it may be shown to clients with the certificate (RFC
// 6066 section 8), when it was made, and when it counts no more. Only an answer
// that calls the certificate good is returned; anything else is an error. It is
// asked anew each time.
func (r *Revocation) Staple(ctx context.Context, cert, issuer *x509.Certificate) (body []byte, made, end time.Time, err error) {
	err = fault(NoSource, "the certificate names no OCSP responder")
	for _, server := range cert.OCSPServer[:min(len(cert.OCSPServer), maxResponders)] {
		var a answer
		if body, a, err = r.staple(ctx, server, cert, issuer); err == nil {
			return body, a.thisUpdate, a.end().Add(-skew), nil
		}
	}
	return nil, time.Time{}, time.Time{}, err
}

func (r *Revocation) staple(ctx context.Context, server string, cert, issuer *x509.Certificate) ([]byte, answer, error) {
	u, err := parseURL(server)
	if err != nil {
		return nil, answer{}, err
	}
	q, err := newQuestion(cert, issuer, nil)
	if err != nil {
		return nil, answer{}, err
	}
	body, a, err := r.put(ctx, u, q)
	if err == nil && a.state != good {
		err = fmt.Errorf("the responder calls the certificate %s", stateNames[a.state])
	}
	return body, a, err
}
