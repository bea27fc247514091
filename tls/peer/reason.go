package peer

import (
	"crypto/x509"
	"errors"
	"strconv"
)

// Reason is why a certificate was refused.
type Reason uint8

// The reasons.
const (
	NoCertificate       Reason = iota // the client showed none
	TooManyCertificates               // more than maxCertificates
	TooManyBytes                      // more than maxChainBytes
	BadName                           // a name is too long, there are too many, or one has control characters
	WeakKey                           // an RSA key below minRSABits or above maxRSABits
	Expired                           // a certificate's time is over
	NotYetValid                       // a certificate's time has not begun
	WrongUsage                        // the key is not for authenticating clients
	SelfSigned                        // the leaf vouches for itself
	UnknownCA                         // the chain does not lead to a listed CA
	Loop                              // the chain leads back to itself
	BadSignature                      // a certificate was not signed by whom it names
	NotCA                             // an issuer may not issue certificates, or none as these
	TooDeep                           // there are more intermediates than may be
	NameNotAllowed                    // a CA's name constraints exclude a name
	Unsupported                       // a critical extension that is not understood, or an algorithm
	Revoked                           // a certificate of the path has been revoked
	RevocationUnknown                 // Strict only: nobody could be asked whether it has been

	reasonCount
)

var reasonNames = [reasonCount]string{
	NoCertificate:       "no_certificate",
	TooManyCertificates: "too_many_certificates",
	TooManyBytes:        "too_many_bytes",
	BadName:             "bad_name",
	WeakKey:             "weak_key",
	Expired:             "expired",
	NotYetValid:         "not_yet_valid",
	WrongUsage:          "wrong_usage",
	SelfSigned:          "self_signed",
	UnknownCA:           "unknown_ca",
	Loop:                "loop",
	BadSignature:        "bad_signature",
	NotCA:               "not_a_ca",
	TooDeep:             "too_deep",
	NameNotAllowed:      "name_not_allowed",
	Unsupported:         "unsupported",
	Revoked:             "revoked",
	RevocationUnknown:   "revocation_unknown",
}

// String returns the reason as logs and metrics tell it.
func (r Reason) String() string { return reasonNames[r] }

// Error says why a client's certificates were refused.
type Error struct {
	Reason  Reason
	Subject string // the name of the certificate at fault, shortened; "" if there is none
	Err     error  // what is behind it, or nil
}

// Error is for the log: it holds what the client's certificate says of itself.
func (e *Error) Error() string {
	s := "client certificate refused: " + e.Reason.String()
	if e.Subject != "" {
		s += ": " + strconv.Quote(e.Subject)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Why returns the reason as the access log tells it: with the doubt, if it is one.
func (e *Error) Why() string {
	if e.Reason != RevocationUnknown {
		return e.Reason.String()
	}
	return e.Reason.String() + " (" + doubtOf(e.Err).String() + ")"
}

// Unwrap returns what is behind e.
func (e *Error) Unwrap() error { return e.Err }

// Code returns the short text for why a client was refused, or otherwise if err
// is none that tells it.
func Code(err error, otherwise string) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Why()
	}
	return otherwise
}

// maxToldName bounds the name of a certificate in an error.
const maxToldName = 200

func refuse(why Reason, c *x509.Certificate, err error) *Error {
	e := &Error{Reason: why, Err: err}
	if c != nil {
		e.Subject = told(c.RawSubject)
	}
	return e
}

// told returns a name for an error's text.
func told(raw []byte) string {
	if len(raw) > maxNameBytes {
		return ""
	}
	s, err := nameText(raw)
	if err != nil || len(s) <= maxToldName {
		return s
	}
	return s[:maxToldName] + "..."
}
