package peer

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"sort"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// maxCRLBytes bounds a revocation list, and a file of several.
	maxCRLBytes = 32 << 20
	// maxCRLHead bounds what a list says beside its entries.
	maxCRLHead = 64 << 10
	// maxSerialBytes bounds a serial number (RFC 5280 section 4.1.2.2).
	maxSerialBytes = 20
	// maxLists bounds the lists of one file.
	maxLists = 64
	// maxSigners bounds the issuers that a list has been held against.
	maxSigners = 16
)

// crl is a revocation list (RFC 5280 section 5), parsed. All but signers is
// immutable.
type crl struct {
	issuer     []byte
	algorithm  x509.SignatureAlgorithm
	thisUpdate time.Time
	nextUpdate time.Time
	number     *big.Int // nil if it has none
	points     []string // the distribution points that it is for; none: for all
	userOnly   bool
	caOnly     bool

	// Serial numbers: each its length and its bytes, filled up with zeros to
	// width, in order.
	serials []byte
	width   int

	tbs, signature []byte // tbs is nil once nobody will check it again

	mu      sync.Mutex
	signers map[issuerID]bool // whether they have signed it
}

// parseCRLs reads DER, or PEM of one or several lists.
func parseCRLs(b []byte) ([]*crl, error) {
	if len(b) > maxCRLBytes {
		return nil, fault(TooLarge, "%d bytes are more than %d", len(b), maxCRLBytes)
	}
	if !bytes.Contains(b, []byte("-----BEGIN")) {
		c, err := parseCRL(b)
		if err != nil {
			return nil, err
		}
		return []*crl{c}, nil
	}
	var lists []*crl
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, fault(Malformed, "a PEM block of type %q where \"X509 CRL\" is expected", block.Type)
		}
		if len(lists) == maxLists {
			return nil, fault(TooLarge, "over %d lists", maxLists)
		}
		c, err := parseCRL(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, c)
	}
	if len(lists) == 0 || len(bytes.TrimSpace(b)) > 0 {
		return nil, fault(Malformed, "PEM that is cut off or has something else in it")
	}
	return lists, nil
}

// parseCRL reads one list. Its entries are read here, so that a long list takes
// a few bytes for each; crypto/x509 reads the rest of it.
func parseCRL(der []byte) (*crl, error) {
	var list, tbs, algorithm, signature cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&list, tags.SEQUENCE) || !in.Empty() ||
		!list.ReadASN1Element(&tbs, tags.SEQUENCE) || !list.ReadASN1Element(&algorithm, tags.SEQUENCE) ||
		!list.ReadASN1Element(&signature, tags.BIT_STRING) || !list.Empty() {
		return nil, fault(Malformed, "not a revocation list")
	}
	head, entries, ok := cutEntries(tbs)
	if !ok || len(head) > maxCRLHead {
		return nil, fault(Malformed, "the list's head is malformed or above %d bytes", maxCRLHead)
	}
	var b cryptobyte.Builder
	b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tags.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(head) })
		b.AddBytes(algorithm)
		b.AddBytes(signature)
	})
	small, err := b.Bytes()
	if err != nil {
		return nil, fault(Malformed, "the list's head cannot be read")
	}
	parsed, err := x509.ParseRevocationList(small)
	if err != nil {
		return nil, fault(Malformed, "%w", err)
	}
	c := &crl{
		issuer: parsed.RawIssuer, algorithm: parsed.SignatureAlgorithm,
		thisUpdate: parsed.ThisUpdate, nextUpdate: parsed.NextUpdate, number: parsed.Number,
		tbs: tbs, signature: parsed.Signature, signers: make(map[issuerID]bool),
	}
	if c.nextUpdate.IsZero() || c.nextUpdate.Before(c.thisUpdate) {
		return nil, fault(Malformed, "the list does not say when the next one comes")
	}
	for _, ext := range parsed.Extensions {
		if err := c.extension(ext.Id, ext.Critical, ext.Value); err != nil {
			return nil, err
		}
	}
	return c, c.readEntries(entries)
}

// cutEntries returns what a TBSCertList holds without its entries, and those.
func cutEntries(tbs cryptobyte.String) (head, entries []byte, ok bool) {
	var body cryptobyte.String
	if !tbs.ReadASN1(&body, tags.SEQUENCE) || !tbs.Empty() {
		return nil, nil, false
	}
	var part cryptobyte.String
	var tag tags.Tag
	next := func(want ...tags.Tag) bool {
		if !body.ReadAnyASN1Element(&part, &tag) {
			return false
		}
		head = append(head, part...)
		for _, w := range want {
			if tag == w {
				return true
			}
		}
		return false
	}
	if !next(tags.INTEGER) || !next(tags.SEQUENCE) || !next(tags.SEQUENCE) || !next(tags.UTCTime, tags.GeneralizedTime) {
		return nil, nil, false
	}
	if body.PeekASN1Tag(tags.UTCTime) || body.PeekASN1Tag(tags.GeneralizedTime) {
		next()
	}
	if body.PeekASN1Tag(tags.SEQUENCE) {
		var list cryptobyte.String
		if !body.ReadASN1(&list, tags.SEQUENCE) {
			return nil, nil, false
		}
		entries = list
	}
	return append(head, body...), entries, true
}

var (
	oidAuthorityKey      = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber         = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidIssuingPoint      = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaIndicator    = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidReasonCode        = asn1.ObjectIdentifier{2, 5, 29, 21}
	oidHoldInstruction   = asn1.ObjectIdentifier{2, 5, 29, 23}
	oidInvalidityDate    = asn1.ObjectIdentifier{2, 5, 29, 24}
	oidCertificateIssuer = asn1.ObjectIdentifier{2, 5, 29, 29}
)

// extension takes what an extension of the list says. A list with a critical one
// that is not understood says nothing (RFC 5280 section 5.2).
func (c *crl) extension(id asn1.ObjectIdentifier, critical bool, value []byte) error {
	switch {
	case id.Equal(oidAuthorityKey), id.Equal(oidCRLNumber):
		return nil
	case id.Equal(oidDeltaIndicator):
		return fault(NotUnderstood, "a delta list says only what has changed")
	case id.Equal(oidIssuingPoint):
		return c.issuingPoint(value)
	case critical:
		return fault(NotUnderstood, "the list has a critical extension that is not known: %v", id)
	}
	return nil
}

// issuingPoint reads which certificates the list is about (RFC 5280 section
// 5.2.5).
func (c *crl) issuingPoint(value []byte) error {
	in := cryptobyte.String(value)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, tags.SEQUENCE) || !in.Empty() {
		return fault(Malformed, "the issuing distribution point is malformed")
	}
	for !seq.Empty() {
		var part cryptobyte.String
		var tag tags.Tag
		if !seq.ReadAnyASN1(&part, &tag) {
			return fault(Malformed, "the issuing distribution point is malformed")
		}
		set := len(part) == 1 && part[0] != 0
		switch tag {
		case tags.Tag(0).ContextSpecific().Constructed():
			if !c.readPoints(part) {
				return fault(NotUnderstood, "the issuing distribution point has no URI")
			}
		case tags.Tag(1).ContextSpecific():
			c.userOnly = set
		case tags.Tag(2).ContextSpecific():
			c.caOnly = set
		case tags.Tag(3).ContextSpecific().Constructed(), tags.Tag(3).ContextSpecific():
			return fault(NotUnderstood, "a list of some reasons only")
		default: // indirect lists and those of attribute certificates
			if set || len(part) != 1 {
				return fault(NotUnderstood, "an indirect list, or one of attribute certificates")
			}
		}
	}
	return nil
}

// readPoints reads the URIs of a DistributionPointName.
func (c *crl) readPoints(name cryptobyte.String) bool {
	var full cryptobyte.String
	if !name.ReadASN1(&full, tags.Tag(0).ContextSpecific().Constructed()) || !name.Empty() {
		return false
	}
	for !full.Empty() {
		var value cryptobyte.String
		var tag tags.Tag
		if !full.ReadAnyASN1(&value, &tag) {
			return false
		}
		if tag == tags.Tag(sanURI).ContextSpecific() {
			c.points = append(c.points, string(value))
		}
	}
	return len(c.points) > 0
}

var errEntries = fault(Malformed, "an entry of the list is malformed")

// readEntries reads the serial numbers, in two passes: how many there are and how
// long the longest is, and then each into its place.
func (c *crl) readEntries(entries []byte) error {
	count := 0
	c.width = 1
	err := eachEntry(entries, func(serial []byte) {
		count++
		c.width = max(c.width, 1+len(serial))
	})
	if err != nil {
		return err
	}
	c.serials = make([]byte, 0, count*c.width)
	_ = eachEntry(entries, func(serial []byte) { // it has been read once
		c.serials = c.appendSerial(c.serials, serial)
	})
	sort.Sort(&serialOrder{c.serials, c.width, make([]byte, c.width)})
	return nil
}

func (c *crl) appendSerial(to, serial []byte) []byte {
	to = append(append(to, byte(len(serial))), serial...)
	for range c.width - 1 - len(serial) {
		to = append(to, 0)
	}
	return to
}

// eachEntry calls f with the serial number of each entry, without zeros in front.
func eachEntry(entries cryptobyte.String, f func(serial []byte)) error {
	for !entries.Empty() {
		var entry, serial, part cryptobyte.String
		var tag tags.Tag
		if !entries.ReadASN1(&entry, tags.SEQUENCE) || !entry.ReadASN1(&serial, tags.INTEGER) ||
			!entry.ReadAnyASN1(&part, &tag) || tag != tags.UTCTime && tag != tags.GeneralizedTime {
			return errEntries
		}
		if len(serial) == 0 || serial[0]&0x80 != 0 {
			return errEntries
		}
		if serial[0] == 0 {
			serial = serial[1:]
		}
		if len(serial) > maxSerialBytes {
			return errEntries
		}
		if !entry.Empty() {
			if err := checkEntryExtensions(entry); err != nil {
				return err
			}
		}
		f(serial)
	}
	return nil
}

func checkEntryExtensions(entry cryptobyte.String) error {
	var list cryptobyte.String
	if !entry.ReadASN1(&list, tags.SEQUENCE) || !entry.Empty() {
		return errEntries
	}
	for !list.Empty() {
		var ext, value cryptobyte.String
		var id asn1.ObjectIdentifier
		critical := false
		if !list.ReadASN1(&ext, tags.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&id) {
			return errEntries
		}
		if ext.PeekASN1Tag(tags.BOOLEAN) && !ext.ReadASN1Boolean(&critical) || !ext.ReadASN1(&value, tags.OCTET_STRING) {
			return errEntries
		}
		switch {
		case id.Equal(oidCertificateIssuer):
			return fault(NotUnderstood, "an indirect list")
		case id.Equal(oidReasonCode), id.Equal(oidHoldInstruction), id.Equal(oidInvalidityDate):
			// A certificate on hold counts as revoked.
		case critical:
			return fault(NotUnderstood, "an entry has a critical extension that is not known: %v", id)
		}
	}
	return nil
}

// serialOrder sorts records of one width.
type serialOrder struct {
	b     []byte
	width int
	spare []byte
}

func (s *serialOrder) Len() int           { return len(s.b) / s.width }
func (s *serialOrder) at(i int) []byte    { return s.b[i*s.width : (i+1)*s.width] }
func (s *serialOrder) Less(i, j int) bool { return bytes.Compare(s.at(i), s.at(j)) < 0 }
func (s *serialOrder) Swap(i, j int) {
	copy(s.spare, s.at(i))
	copy(s.at(i), s.at(j))
	copy(s.at(j), s.spare)
}

func (c *crl) has(n *big.Int) bool {
	serial := n.Bytes()
	if n.Sign() < 0 || 1+len(serial) > c.width {
		return false
	}
	order := serialOrder{c.serials, c.width, nil}
	want := c.appendSerial(make([]byte, 0, 1+maxSerialBytes), serial)
	i := sort.Search(order.Len(), func(i int) bool { return bytes.Compare(order.at(i), want) >= 0 })
	return i < order.Len() && bytes.Equal(order.at(i), want)
}

// signedBy reports whether issuer, which has the list's issuer's name, has signed
// it and may.
func (c *crl) signedBy(issuer *x509.Certificate) bool {
	id := issuerOf(issuer)
	c.mu.Lock()
	defer c.mu.Unlock()
	yes, known := c.signers[id]
	if known || c.tbs == nil || len(c.signers) == maxSigners {
		return yes
	}
	yes = sound(c.algorithm) && bytes.Equal(c.issuer, issuer.RawSubject) &&
		(issuer.KeyUsage == 0 || issuer.KeyUsage&x509.KeyUsageCRLSign != 0) &&
		issuer.CheckSignature(c.algorithm, c.tbs, c.signature) == nil
	c.signers[id] = yes
	return yes
}

// settle forgets what is needed for further issuers only.
func (c *crl) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tbs = nil
}

// weight is about what c takes in memory.
func (c *crl) weight() int { return len(c.serials) + len(c.tbs) + 4096 }

var errForged = errors.New("its issuer has not signed the list, or may not sign lists")

// status says what the list does of a certificate that issuer has issued.
func (c *crl) status(cert, issuer *x509.Certificate, now time.Time) status {
	switch {
	case !c.signedBy(issuer):
		return status{err: &Fault{Forged, errForged}}
	case c.thisUpdate.After(now.Add(skew)):
		return status{err: fault(Early, "the list is of %s", c.thisUpdate.UTC().Format(time.RFC3339))}
	case !c.covers(cert):
		return status{err: fault(NotCovered, "the list is not about this certificate")}
	case c.has(cert.SerialNumber):
		return status{state: revoked, until: c.nextUpdate} // also if the list is stale
	case now.After(c.nextUpdate):
		return status{err: fault(Stale, "the next list was to come by %s", c.nextUpdate.UTC().Format(time.RFC3339))}
	}
	return status{state: good, until: c.nextUpdate}
}

// covers reports whether the list is about certificates as this one (RFC 5280
// section 6.3.3 (b)).
func (c *crl) covers(cert *x509.Certificate) bool {
	if c.userOnly && cert.IsCA || c.caOnly && !cert.IsCA {
		return false
	}
	if len(c.points) == 0 {
		return true
	}
	for _, p := range cert.CRLDistributionPoints {
		for _, q := range c.points {
			if p == q {
				return true
			}
		}
	}
	return false
}

// newer reports whether c was made after other.
func (c *crl) newer(other *crl) bool {
	if c.number != nil && other.number != nil {
		return c.number.Cmp(other.number) >= 0
	}
	return !c.thisUpdate.Before(other.thisUpdate)
}
