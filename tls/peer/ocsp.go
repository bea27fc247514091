package peer

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// maxOCSPBytes bounds an answer.
	maxOCSPBytes = 64 << 10
	// maxResponderCerts bounds the certificates within it that are looked at.
	maxResponderCerts = 4
	// maxSingles bounds the certificates that an answer may be about.
	maxSingles = 64
	// maxTimeless is how old an answer may be that does not say when the next
	// one comes.
	maxTimeless = time.Hour
	// nonceBytes is the length of a nonce (RFC 9654 section 2.1).
	nonceBytes = 32
)

// question is what a responder is asked, and what its answer must be about.
type question struct {
	cert, issuer      *x509.Certificate
	nameHash, keyHash [sha1.Size]byte // SHA-1 is what all responders know; it names the issuer, it proves nothing
	nonce             []byte          // nil: none
}

// answer is what a responder says.
type answer struct {
	state      state
	thisUpdate time.Time
	nextUpdate time.Time // zero if it does not say
}

var (
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidNonce         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidBasicResponse = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
)

// ocspAlgorithms are the signatures of answers that prove something and are told
// by their identifier alone.
var ocspAlgorithms = []struct {
	id        asn1.ObjectIdentifier
	algorithm x509.SignatureAlgorithm
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, x509.ECDSAWithSHA256},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, x509.ECDSAWithSHA384},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, x509.ECDSAWithSHA512},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, x509.SHA256WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, x509.SHA384WithRSA},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, x509.SHA512WithRSA},
	{asn1.ObjectIdentifier{1, 3, 101, 112}, x509.PureEd25519},
}

func newQuestion(cert, issuer *x509.Certificate, nonce []byte) (*question, error) {
	key, ok := keyBits(issuer)
	if !ok {
		return nil, fault(NotUnderstood, "the issuer's key cannot be read")
	}
	return &question{
		cert: cert, issuer: issuer, nonce: nonce,
		nameHash: sha1.Sum(cert.RawIssuer), keyHash: sha1.Sum(key),
	}, nil
}

// keyBits returns the BIT STRING of a certificate's key, without its tag.
func keyBits(c *x509.Certificate) ([]byte, bool) {
	in := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var info, algorithm cryptobyte.String
	var bits asn1.BitString
	ok := in.ReadASN1(&info, tags.SEQUENCE) && info.ReadASN1(&algorithm, tags.SEQUENCE) && info.ReadASN1BitString(&bits)
	return bits.RightAlign(), ok
}

// marshal writes the request (RFC 6960 section 4.1).
func (q *question) marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { // OCSPRequest
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { // TBSRequest
			b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { // requestList
				b.AddASN1(tags.SEQUENCE, q.addCertID) // Request
			})
			if q.nonce != nil {
				b.AddASN1(tags.Tag(2).ContextSpecific().Constructed(), q.addNonce)
			}
		})
	})
	return b.Bytes()
}

func (q *question) addCertID(b *cryptobyte.Builder) {
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidSHA1)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(q.nameHash[:])
		b.AddASN1OctetString(q.keyHash[:])
		b.AddASN1BigInt(q.cert.SerialNumber)
	})
}

func (q *question) addNonce(b *cryptobyte.Builder) {
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oidNonce)
			b.AddASN1(tags.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(q.nonce) })
		})
	})
}

// basic is a BasicOCSPResponse (RFC 6960 section 4.2.1), cut into its parts.
type basic struct {
	tbs       []byte
	algorithm x509.SignatureAlgorithm
	signature []byte
	certs     cryptobyte.String

	responderName []byte // one of the two
	responderKey  []byte
	singles       cryptobyte.String
	nonce         []byte
}

var errOCSP = fault(Malformed, "not an OCSP answer")

// read returns what an answer says of what was asked, or a *Fault. Every byte of
// it is held against the question: who has signed it and may, which certificate
// it is about, when it was made and how long it counts.
func (q *question) read(body []byte, now time.Time) (answer, error) {
	b, err := parseBasic(body)
	if err != nil {
		return answer{}, err
	}
	if err := q.checkSigner(b, now); err != nil {
		return answer{}, err
	}
	if q.nonce != nil && !bytes.Equal(q.nonce, b.nonce) {
		return answer{}, fault(OtherCertificate, "the answer was not made for the question: its nonce is another or missing")
	}
	a, err := q.find(b.singles)
	if err != nil {
		return answer{}, err
	}
	return a, a.check(now)
}

func (a *answer) check(now time.Time) error {
	switch {
	case a.thisUpdate.After(now.Add(skew)):
		return fault(Early, "the answer is of %s", a.thisUpdate.UTC().Format(time.RFC3339))
	case a.nextUpdate.IsZero() && now.After(a.thisUpdate.Add(maxTimeless)):
		return fault(Stale, "the answer is of %s and says no end", a.thisUpdate.UTC().Format(time.RFC3339))
	case !a.nextUpdate.IsZero() && now.After(a.nextUpdate.Add(skew)):
		return fault(Stale, "the answer was good until %s", a.nextUpdate.UTC().Format(time.RFC3339))
	}
	return nil
}

// end is when the answer counts no more.
func (a *answer) end() time.Time {
	if a.nextUpdate.IsZero() {
		return a.thisUpdate.Add(maxTimeless)
	}
	return a.nextUpdate.Add(skew)
}

// parseBasic cuts an OCSPResponse apart, down to the list of what it says.
func parseBasic(body []byte) (*basic, error) {
	in := cryptobyte.String(body)
	var response, wrapped, inner, octets cryptobyte.String
	var id asn1.ObjectIdentifier
	var code int
	if !in.ReadASN1(&response, tags.SEQUENCE) || !in.Empty() || !response.ReadASN1Enum(&code) {
		return nil, errOCSP
	}
	if code != 0 {
		return nil, fault(ResponderError, "the responder's status is %d", code)
	}
	if !response.ReadASN1(&wrapped, tags.Tag(0).ContextSpecific().Constructed()) || !response.Empty() ||
		!wrapped.ReadASN1(&inner, tags.SEQUENCE) || !wrapped.Empty() ||
		!inner.ReadASN1ObjectIdentifier(&id) || !id.Equal(oidBasicResponse) ||
		!inner.ReadASN1(&octets, tags.OCTET_STRING) || !inner.Empty() {
		return nil, errOCSP
	}
	var list, tbs, algorithm cryptobyte.String
	var signature asn1.BitString
	b := &basic{}
	if !octets.ReadASN1(&list, tags.SEQUENCE) || !octets.Empty() ||
		!list.ReadASN1Element(&tbs, tags.SEQUENCE) || !list.ReadASN1(&algorithm, tags.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&id) || !list.ReadASN1BitString(&signature) ||
		!readOptional(&list, 0, &b.certs) || !list.Empty() {
		return nil, errOCSP
	}
	b.tbs, b.signature = tbs, signature.RightAlign()
	for _, known := range ocspAlgorithms {
		if id.Equal(known.id) {
			b.algorithm = known.algorithm
		}
	}
	if b.algorithm == x509.UnknownSignatureAlgorithm {
		return nil, fault(NotUnderstood, "the answer is signed in a way that is unknown or proves nothing: %v", id)
	}
	return b, b.readData(tbs)
}

// readOptional reads what is in [n] EXPLICIT, if that comes next, of a sequence.
func readOptional(in *cryptobyte.String, n uint8, out *cryptobyte.String) bool {
	var wrapped cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&wrapped, &present, tags.Tag(n).ContextSpecific().Constructed()) {
		return false
	}
	return !present || wrapped.ReadASN1(out, tags.SEQUENCE) && wrapped.Empty()
}

// readData reads a ResponseData.
func (b *basic) readData(tbs cryptobyte.String) error {
	var data, version, responder, extensions cryptobyte.String
	var tag tags.Tag
	var produced time.Time
	var present bool
	if !tbs.ReadASN1(&data, tags.SEQUENCE) ||
		!data.ReadOptionalASN1(&version, &present, tags.Tag(0).ContextSpecific().Constructed()) ||
		!data.ReadAnyASN1(&responder, &tag) || !data.ReadASN1GeneralizedTime(&produced) ||
		!data.ReadASN1(&b.singles, tags.SEQUENCE) || !readOptional(&data, 1, &extensions) || !data.Empty() {
		return errOCSP
	}
	if present && !bytes.Equal(version, []byte{2, 1, 0}) {
		return fault(NotUnderstood, "an answer of another version")
	}
	switch tag {
	case tags.Tag(1).ContextSpecific().Constructed():
		b.responderName = responder
	case tags.Tag(2).ContextSpecific().Constructed():
		var key cryptobyte.String
		if !responder.ReadASN1(&key, tags.OCTET_STRING) || !responder.Empty() || len(key) != sha1.Size {
			return errOCSP
		}
		b.responderKey = key
	default:
		return errOCSP
	}
	return eachExtension(extensions, func(id asn1.ObjectIdentifier, critical bool, value cryptobyte.String) error {
		if id.Equal(oidNonce) {
			var nonce cryptobyte.String
			if !value.ReadASN1(&nonce, tags.OCTET_STRING) || !value.Empty() {
				return errOCSP
			}
			b.nonce = nonce
			return nil
		}
		return refuseCritical(id, critical)
	})
}

func refuseCritical(id asn1.ObjectIdentifier, critical bool) error {
	if critical {
		return fault(NotUnderstood, "the answer has a critical extension that is not known: %v", id)
	}
	return nil
}

// eachExtension calls f for each extension of a list, up to its first error.
func eachExtension(list cryptobyte.String, f func(id asn1.ObjectIdentifier, critical bool, value cryptobyte.String) error) error {
	for !list.Empty() {
		var ext, value cryptobyte.String
		var id asn1.ObjectIdentifier
		critical := false
		if !list.ReadASN1(&ext, tags.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&id) ||
			ext.PeekASN1Tag(tags.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, tags.OCTET_STRING) || !ext.Empty() {
			return fault(Malformed, "an extension is malformed")
		}
		if err := f(id, critical, value); err != nil {
			return err
		}
	}
	return nil
}

// find returns what is said of the certificate that was asked for.
func (q *question) find(singles cryptobyte.String) (answer, error) {
	for n := 0; !singles.Empty(); n++ {
		var single, certID cryptobyte.String
		if n == maxSingles {
			return answer{}, fault(TooLarge, "the answer is about more than %d certificates", maxSingles)
		}
		if !singles.ReadASN1(&single, tags.SEQUENCE) || !single.ReadASN1(&certID, tags.SEQUENCE) {
			return answer{}, errOCSP
		}
		about, ok := q.isAbout(certID)
		if !ok {
			return answer{}, errOCSP
		}
		if about {
			return readSingle(single)
		}
	}
	return answer{}, fault(OtherCertificate, "the answer is about other certificates")
}

func (q *question) isAbout(certID cryptobyte.String) (yes, ok bool) {
	var algorithm, name, key cryptobyte.String
	var id asn1.ObjectIdentifier
	serial := new(big.Int)
	if !certID.ReadASN1(&algorithm, tags.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&id) ||
		!certID.ReadASN1(&name, tags.OCTET_STRING) || !certID.ReadASN1(&key, tags.OCTET_STRING) ||
		!certID.ReadASN1Integer(serial) || !certID.Empty() {
		return false, false
	}
	return id.Equal(oidSHA1) && bytes.Equal(name, q.nameHash[:]) && bytes.Equal(key, q.keyHash[:]) &&
		serial.Cmp(q.cert.SerialNumber) == 0, true
}

// readSingle reads a SingleResponse from its status on.
func readSingle(single cryptobyte.String) (answer, error) {
	var a answer
	var status, next, extensions cryptobyte.String
	var tag tags.Tag
	var present bool
	if !single.ReadAnyASN1(&status, &tag) || !single.ReadASN1GeneralizedTime(&a.thisUpdate) ||
		!single.ReadOptionalASN1(&next, &present, tags.Tag(0).ContextSpecific().Constructed()) ||
		present && (!next.ReadASN1GeneralizedTime(&a.nextUpdate) || !next.Empty()) ||
		!readOptional(&single, 1, &extensions) || !single.Empty() {
		return a, errOCSP
	}
	if err := eachExtension(extensions, func(id asn1.ObjectIdentifier, critical bool, _ cryptobyte.String) error {
		return refuseCritical(id, critical)
	}); err != nil {
		return a, err
	}
	switch tag {
	case tags.Tag(0).ContextSpecific():
		a.state = good
	case tags.Tag(1).ContextSpecific().Constructed():
		a.state = revoked
	case tags.Tag(2).ContextSpecific():
		return a, fault(UnknownCertificate, "the responder does not know the certificate")
	default:
		return a, errOCSP
	}
	return a, nil
}

// checkSigner holds the answer against who may sign it: the issuer, or whom the
// issuer has made a certificate for just that (RFC 6960 section 4.2.2.2). That
// certificate's own revocation is not asked about.
func (q *question) checkSigner(b *basic, now time.Time) error {
	signer := q.issuer
	if !b.isFrom(signer) {
		var err error
		if signer, err = q.delegate(b, now); err != nil {
			return err
		}
	}
	if err := signer.CheckSignature(b.algorithm, b.tbs, b.signature); err != nil {
		return &Fault{Forged, fmt.Errorf("checking who signed the answer: %w", err)}
	}
	return nil
}

// isFrom reports whether the answer names c as who made it.
func (b *basic) isFrom(c *x509.Certificate) bool {
	if b.responderName != nil {
		return bytes.Equal(b.responderName, c.RawSubject)
	}
	key, ok := keyBits(c)
	sum := sha1.Sum(key)
	return ok && bytes.Equal(b.responderKey, sum[:])
}

func (q *question) delegate(b *basic, now time.Time) (*x509.Certificate, error) {
	certs := b.certs
	for n := 0; !certs.Empty() && n < maxResponderCerts; n++ {
		var der cryptobyte.String
		if !certs.ReadASN1Element(&der, tags.SEQUENCE) {
			return nil, errOCSP
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, &Fault{Malformed, fmt.Errorf("reading the responder's certificate: %w", err)}
		}
		if b.isFrom(c) {
			if err := q.mayAnswer(c, now); err != nil {
				return nil, &Fault{Forged, err}
			}
			return c, nil
		}
	}
	return nil, fault(Forged, "the answer is by somebody whose certificate it does not show")
}

func (q *question) mayAnswer(c *x509.Certificate, now time.Time) error {
	switch {
	case !bytes.Equal(c.RawIssuer, q.issuer.RawSubject) || !sound(c.SignatureAlgorithm) ||
		q.issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil:
		return errors.New("the responder's certificate is not by the issuer of the one asked about")
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the responder's certificate is not for signing OCSP answers")
	case now.Before(c.NotBefore) || now.After(c.NotAfter):
		return errors.New("the responder's certificate is past its time or not yet valid")
	case len(c.UnhandledCriticalExtensions) > 0:
		return errors.New("the responder's certificate has a critical extension that is not known")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return errors.New("the responder's key is not for signatures")
	}
	return nil
}
