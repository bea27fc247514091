package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/mholt/acmez/v3/acme"

	"github.com/bulwark-edge/bulwark/store"
)

// Reasons of a revocation that a subscriber may give (RFC 5280 section 5.3.1).
const (
	ReasonUnspecified          = 0
	ReasonKeyCompromise        = 1
	ReasonAffiliationChanged   = 3
	ReasonSuperseded           = 4
	ReasonCessationOfOperation = 5
)

var (
	errNoCertificate = errors.New("none is stored")
	errForeignCA     = errors.New("its authority is none of those that are configured")
)

// Revoke has the certificate of a name revoked by the authority that issued it,
// and forgets it. A running edge that orders the name gets another one when it
// looks next. One whose authority is not configured any more is not touched.
func Revoke(ctx context.Context, records store.Records, terms []Terms, name string, reason int, o Options) error {
	h, err := load(ctx, records, name)
	if err != nil {
		return err
	}
	if h == nil {
		return fmt.Errorf("revoking the certificate of %q: %w", name, errNoCertificate)
	}
	for i := range terms {
		for _, ca := range terms[i].CAs {
			if ca.Directory != h.Directory {
				continue
			}
			if err := revoke(ctx, newAuthority(ca, o.Product), terms[i], h, reason); err != nil {
				return fmt.Errorf("revoking the certificate of %q: %w", name, err)
			}
			// One that an edge has ordered meanwhile stays.
			err := records.Delete(ctx, certificateKey(name), h.version)
			if errors.Is(err, store.ErrConflict) {
				return nil
			}
			return ignoreMissing(err)
		}
	}
	return fmt.Errorf("revoking the certificate of %q: %w: %s", name, errForeignCA, h.Directory)
}

// revoke asks the authority. The certificate's own key signs, so that no account
// is needed.
func revoke(ctx context.Context, a *authority, t Terms, h *held, reason int) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	defer a.transport.CloseIdleConnections()
	s, err := a.open(ctx, t.Timeout)
	if err != nil {
		return err
	}
	key, err := decodeKey(h.Key)
	if err != nil {
		return err
	}
	err = s.client.RevokeCertificate(ctx, acme.Account{}, h.leaf, key, reason)
	if problem, ok := errors.AsType[acme.Problem](err); ok && problem.Type == acme.ProblemTypeAlreadyRevoked {
		return nil // the authority may have done so by itself
	}
	return err
}

// Stored tells of all certificates in records, whoever ordered them.
func Stored(ctx context.Context, records store.Records, log *slog.Logger) ([]Status, error) {
	var all []Status
	for rec, err := range records.List(ctx, prefixCertificates) {
		if errors.Is(err, store.ErrDamaged) {
			log.Warn("reading a stored certificate", "error", err.Error())
			continue
		}
		if err != nil {
			return nil, err
		}
		name := rec.Key[len(prefixCertificates):]
		h, err := load(ctx, records, name)
		if err != nil {
			log.Warn("reading a stored certificate", "error", err.Error())
			continue
		}
		if h != nil {
			all = append(all, Status{Name: name, State: Valid, CA: h.Directory, Until: h.leaf.NotAfter})
		}
	}
	return all, nil
}
