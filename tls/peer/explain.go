package peer

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// maxExplained bounds the signatures that are checked to say why there is no path.
const maxExplained = 16

// explain says why crypto/x509 found no path. It only chooses the reason: that
// the client is refused is settled.
func (v *Verifier) explain(chain []*x509.Certificate, now time.Time, cause error) error {
	leaf := chain[0]
	var (
		invalid  x509.CertificateInvalidError
		critical x509.UnhandledCriticalExtension
	)
	switch {
	case errors.As(cause, &critical):
		return refuse(Unsupported, leaf, errors.New("it has a critical extension that is not known"))
	case errors.As(cause, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			return outOfTime(leaf, now)
		case x509.IncompatibleUsage, x509.NoValidChains:
			return refuse(WrongUsage, leaf, errors.New("the path is not for authenticating clients"))
		case x509.CANotAuthorizedForThisName:
			return refuse(NameNotAllowed, leaf, errors.New(invalid.Detail))
		default:
			return refuse(NotCA, leaf, nil)
		}
	}
	if selfSigned(leaf) {
		return refuse(SelfSigned, leaf, nil)
	}
	return v.follow(chain, now)
}

func outOfTime(c *x509.Certificate, now time.Time) *Error {
	if now.Before(c.NotBefore) {
		return refuse(NotYetValid, c, fmt.Errorf("it is valid from %s on", c.NotBefore.UTC().Format(time.RFC3339)))
	}
	return refuse(Expired, c, fmt.Errorf("it was valid until %s", c.NotAfter.UTC().Format(time.RFC3339)))
}

// follow walks from issuer to issuer, as a path would have gone, to where it
// breaks off.
func (v *Verifier) follow(chain []*x509.Certificate, now time.Time) error {
	child := chain[0]
	seen := map[*x509.Certificate]bool{child: true}
	for budget := maxExplained; ; {
		issuer, fault, ended := v.issuer(child, chain, now, &budget)
		switch {
		case fault != nil:
			return fault
		case issuer != nil && v.isEnd(issuer):
			return refuse(NotCA, issuer, errors.New("it may not issue a path of this length"))
		case issuer == nil, ended:
			return refuse(UnknownCA, child, errors.New("no CA certificate that is trusted has issued it"))
		case seen[issuer]:
			return refuse(Loop, issuer, errors.New("the chain comes back to it"))
		}
		seen[issuer] = true
		child = issuer
	}
}

func (v *Verifier) isEnd(c *x509.Certificate) bool {
	return slices.ContainsFunc(v.listed, func(root *x509.Certificate) bool {
		return root.Equal(c) && (v.opts.AllowPartialChain || selfSigned(root))
	})
}

// issuer returns the certificate that has issued child, or what is wrong with the
// only ones that could have. ended says that it vouches for itself.
func (v *Verifier) issuer(child *x509.Certificate, chain []*x509.Certificate, now time.Time, budget *int) (issuer *x509.Certificate, fault error, ended bool) {
	for _, list := range [][]*x509.Certificate{v.listed, chain[1:]} {
		for _, c := range list {
			if c == child || !bytes.Equal(c.RawSubject, child.RawIssuer) || *budget == 0 {
				continue
			}
			*budget--
			err := child.CheckSignatureFrom(c)
			switch {
			case errors.As(err, new(x509.ConstraintViolationError)):
				fault = refuse(NotCA, c, nil)
			case errors.As(err, new(x509.InsecureAlgorithmError)), errors.Is(err, x509.ErrUnsupportedAlgorithm):
				fault = refuse(Unsupported, child, err)
			case err != nil:
				fault = refuse(BadSignature, child, errors.New("its issuer has not signed it"))
			case now.Before(c.NotBefore) || now.After(c.NotAfter):
				fault = outOfTime(c, now)
			case len(c.UnhandledCriticalExtensions) > 0:
				fault = refuse(Unsupported, c, errors.New("it has a critical extension that is not known"))
			case c.BasicConstraintsValid && !c.IsCA:
				fault = refuse(NotCA, c, nil)
			default:
				return c, nil, bytes.Equal(c.RawSubject, c.RawIssuer)
			}
		}
	}
	return nil, fault, false
}
