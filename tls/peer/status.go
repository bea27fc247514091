package peer

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// skew is how far the clocks of CAs may be off from ours.
const skew = 5 * time.Minute

// state is what is known of a certificate's revocation.
type state uint8

const (
	unknown state = iota
	good
	revoked
)

var stateNames = [...]string{unknown: "unknown", good: "good", revoked: "revoked"}

// status is what somebody says of a certificate, or why nobody does.
type status struct {
	state state
	until time.Time // when it is to be asked for again; zero: not sooner than anything else
	err   error     // a *fault, if state is unknown
}

// Doubt is why it is not known whether a certificate has been revoked.
type Doubt uint8

// The doubts.
const (
	NoSource           Doubt = iota // the certificate names nobody who could say
	Unreachable                     // no connection, or it broke
	TimedOut                        // no answer within Options.Timeout
	AddressRefused                  // the server's address is not one to be asked
	BadURL                          // its address is none of plain HTTP
	HTTPStatus                      // it answered with another status than 200
	TooLarge                        // its answer is above the bound
	Malformed                       // its answer is not what was asked for
	Forged                          // its answer is not signed by who may say
	Stale                           // its answer is past its time
	Early                           // its answer is from the future
	Older                           // its answer is older than the one that is known
	OtherCertificate                // its answer is about another certificate, or another question
	UnknownCertificate              // the responder does not know the certificate
	ResponderError                  // the responder says that it cannot answer
	NotCovered                      // the list is not about certificates of this kind
	NotUnderstood                   // the list or answer is of a form that is not supported
	Busy                            // too many questions are under way
	Closing                         // the process is ending

	doubtCount
)

var doubtNames = [doubtCount]string{
	NoSource:           "no_source",
	Unreachable:        "unreachable",
	TimedOut:           "timeout",
	AddressRefused:     "address_refused",
	BadURL:             "bad_url",
	HTTPStatus:         "http_status",
	TooLarge:           "too_large",
	Malformed:          "malformed",
	Forged:             "forged",
	Stale:              "stale",
	Early:              "early",
	Older:              "older",
	OtherCertificate:   "other_certificate",
	UnknownCertificate: "unknown_certificate",
	ResponderError:     "responder_error",
	NotCovered:         "not_covered",
	NotUnderstood:      "not_understood",
	Busy:               "busy",
	Closing:            "closing",
}

// String returns the doubt as logs and metrics tell it.
func (d Doubt) String() string { return doubtNames[d] }

// Fault is an error of asking about revocation.
type Fault struct {
	Doubt Doubt
	Err   error // what is behind it, or nil
}

// Error returns the doubt and what is behind it.
func (f *Fault) Error() string {
	if f.Err == nil {
		return f.Doubt.String()
	}
	return f.Doubt.String() + ": " + f.Err.Error()
}

// Is reports whether f is ErrNotAsked.
func (f *Fault) Is(target error) bool {
	return target == ErrNotAsked && (f.Doubt == Busy || f.Doubt == Closing)
}

// ErrNotAsked is in the errors of certificates about which a server was to be asked
// for whose answer there was no room, so that they say nothing of the certificate.
var ErrNotAsked = errors.New("too many servers are being asked")

// Unwrap returns what is behind f.
func (f *Fault) Unwrap() error { return f.Err }

func fault(d Doubt, format string, args ...any) *Fault {
	return &Fault{Doubt: d, Err: fmt.Errorf(format, args...)}
}

func doubtOf(err error) Doubt {
	var f *Fault
	if errors.As(err, &f) {
		return f.Doubt
	}
	return Unreachable
}

// issuerID tells apart who may say something of a certificate: a name with a key.
type issuerID [sha256.Size]byte

func issuerOf(c *x509.Certificate) issuerID {
	h := sha256.New()
	h.Write(c.RawSubject)
	h.Write(c.RawSubjectPublicKeyInfo)
	var id issuerID
	h.Sum(id[:0])
	return id
}

// sound reports whether a signature of this kind proves anything: SHA-1 and what
// came before does not. crypto/x509 leaves that to whoever calls CheckSignature.
func sound(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return true
	}
	return false
}
