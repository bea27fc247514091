package peer

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Mode says what becomes of a certificate of which nobody says whether it has
// been revoked. A revoked one is refused in every mode but Skip.
type Mode uint8

// The modes, Kong's of revocation_check_mode.
const (
	Skip          Mode = iota // revocation is not asked about
	IgnoreCAError             // it passes
	Strict                    // it is refused
)

const (
	// DefaultTimeout is how long servers are asked for one client (Kong's
	// http_timeout).
	DefaultTimeout = 30 * time.Second
	// DefaultCacheTTL is how long an answer counts before it is asked for
	// again (Kong's cert_cache_ttl).
	DefaultCacheTTL = time.Minute
	// maxRoots bounds the CA certificates of a verifier.
	maxRoots = 1000
)

// Options say what a Verifier accepts.
type Options struct {
	// Roots are the CA certificates that are trusted. A path ends at one of
	// them that is self-signed; the others may stand within it. There must be
	// one.
	Roots []*x509.Certificate
	// AllowPartialChain lets a path end at any of them.
	AllowPartialChain bool
	// Depth is how many intermediates may stand between the leaf and the end
	// of the path, as OpenSSL counts; 0: as many as a chain has room for,
	// below 0: none.
	Depth int

	// Revocation says whether it is asked about, for each certificate of the
	// path but its end: first in CRLs, then by OCSP at the address that the
	// certificate tells, and at last in the CRL at its distribution points.
	Revocation Mode
	CRLs       []CRL
	// Timeout bounds how long servers are asked for one client;
	// 0: DefaultTimeout.
	Timeout time.Duration
	// CacheTTL is how long an answer of OCSP counts before it is asked for
	// again; 0: DefaultCacheTTL. It never counts longer than it says itself.
	CacheTTL time.Duration
	// Nonce demands an OCSP answer that was made for the question (RFC 9654),
	// which responders that sign ahead do not give.
	Nonce bool
}

// CRL is where a configured revocation list comes from: one of the two.
type CRL struct {
	Inline []byte // DER, or PEM with one or several lists
	File   string // the path of such a file, which is read again when it changes
}

// Verifier verifies clients' certificates by one set of options. It is immutable
// and safe for concurrent use. It holds nothing that must be closed, but must
// not be used after its Revocation is closed.
type Verifier struct {
	shared *Revocation
	opts   Options
	roots  *x509.CertPool // where paths end
	middle *x509.CertPool // the other listed ones
	listed []*x509.Certificate
	pool   [sha256.Size]byte // tells apart what paths are judged by
	lists  []*crlSource
}

// Verifier returns a verifier. A policy that could not hold is an error, never
// one that accepts more or nothing: no roots, roots that are no CAs, roots at
// which no path can end, CRLs that cannot be read.
func (r *Revocation) Verifier(o Options) (*Verifier, error) {
	v := &Verifier{shared: r, opts: o, roots: x509.NewCertPool(), middle: x509.NewCertPool()}
	if v.opts.Timeout == 0 {
		v.opts.Timeout = DefaultTimeout
	}
	if v.opts.CacheTTL == 0 {
		v.opts.CacheTTL = DefaultCacheTTL
	}
	if v.opts.Depth == 0 {
		v.opts.Depth = maxCertificates
	}
	v.opts.Roots, v.opts.CRLs = slices.Clone(o.Roots), nil
	if err := v.addRoots(); err != nil {
		return nil, err
	}
	if o.Revocation == Skip {
		return v, nil
	}
	for i, c := range o.CRLs {
		src, err := r.source(c, v.listed)
		if err != nil {
			return nil, fmt.Errorf("reading revocation list %d: %w", i+1, err)
		}
		v.lists = append(v.lists, src)
	}
	return v, nil
}

func (v *Verifier) addRoots() error {
	if len(v.opts.Roots) == 0 {
		return errors.New("there is no CA certificate to verify clients by")
	}
	if len(v.opts.Roots) > maxRoots {
		return fmt.Errorf("%d CA certificates are more than %d", len(v.opts.Roots), maxRoots)
	}
	ends := 0
	sums := make([][]byte, 0, len(v.opts.Roots))
	for _, c := range v.opts.Roots {
		if c == nil || len(c.Raw) == 0 {
			return errors.New("a CA certificate is empty")
		}
		if c.Version == 3 && !c.IsCA {
			return fmt.Errorf("%q is not the certificate of a CA", told(c.RawSubject))
		}
		if v.opts.AllowPartialChain || selfSigned(c) {
			v.roots.AddCert(c)
			ends++
		} else {
			v.middle.AddCert(c)
		}
		v.listed = append(v.listed, c)
		sum := sha256.Sum256(c.Raw)
		sums = append(sums, sum[:])
	}
	if ends == 0 {
		return errors.New("none of the CA certificates is self-signed, so no path could end at one: list the root, or set allow_partial_chain")
	}
	slices.SortFunc(sums, slices.Compare)
	h := sha256.New()
	for _, sum := range sums {
		h.Write(sum)
	}
	flags := []byte{0}
	if v.opts.AllowPartialChain {
		flags[0] = 1
	}
	h.Write(binary.BigEndian.AppendUint32(flags, uint32(max(0, v.opts.Depth))))
	h.Sum(v.pool[:0])
	return nil
}

// Key tells apart verifiers that could judge one chain differently: it is the
// same for the same CA certificates, depth and partial chains. What is known of
// revocation is no part of it.
func (v *Verifier) Key() string { return string(v.pool[:]) }

// CAs returns the CA certificates, for the list that a handshake tells clients.
func (v *Verifier) CAs() []*x509.Certificate { return v.opts.Roots }

// Verify returns who the client is that showed chain, leaf first, as the
// handshake tells it. The error is an *Error, or ctx's if that has ended.
//
// It may wait for OCSP and CRL servers, for Options.Timeout in all; Known does
// not.
func (v *Verifier) Verify(ctx context.Context, chain []*x509.Certificate) (*Identity, error) {
	id, _, err := v.judge(ctx, chain, andWait)
	return id, err
}

// Known is Verify by what is known already: known is false if a server would
// have to be asked, and then nothing else is told. It lets nobody be asked.
func (v *Verifier) Known(chain []*x509.Certificate) (id *Identity, known bool, err error) {
	return v.judge(context.Background(), chain, nothing)
}

// Generation changes when a CRL does, or an answer of OCSP that was good is so
// no longer. Verdicts from before it are to be taken again.
func (v *Verifier) Generation() uint64 {
	if v.opts.Revocation == Skip {
		return 0
	}
	return v.shared.generation.Load()
}

func (v *Verifier) judge(ctx context.Context, chain []*x509.Certificate, may asking) (*Identity, bool, error) {
	now := v.shared.now()
	paths, err := v.paths(chain, now)
	if err != nil {
		v.shared.counts.refused(err)
		return nil, true, err
	}
	id, known, err := v.revocation(ctx, paths, now, may)
	if !known {
		return nil, false, nil
	}
	if err != nil {
		v.shared.counts.refused(err)
		return nil, true, err
	}
	v.shared.counts.accepted.Inc()
	if log := v.shared.log; id.Doubt != nil && log.Enabled(ctx, slog.LevelDebug) {
		log.Debug("a client passes of whom nobody says whether its certificate is revoked", "certificate", id.SubjectDN, "reason", doubtOf(id.Doubt).String(), "error", id.Doubt)
	}
	return id, true, nil
}

// selfSigned reports whether c vouches for itself, in name and by signature.
func selfSigned(c *x509.Certificate) bool {
	return string(c.RawSubject) == string(c.RawIssuer) &&
		c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}
