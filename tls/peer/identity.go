package peer

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// maxNameBytes bounds a distinguished name, encoded.
	maxNameBytes = 4 << 10
	// maxSANBytes bounds one subject alternative name. A SPIFFE id has at most
	// as many.
	maxSANBytes = 2048
	// maxSANs bounds the subject alternative names of a certificate.
	maxSANs = 256
)

// Identity is who a client is. It is immutable and may be shared.
type Identity struct {
	Leaf  *x509.Certificate
	Chain []*x509.Certificate // the verified path, the leaf first, the listed CA certificate last; nil from Unverified

	Names     Names
	SPIFFE    string // the SPIFFE id, "" if the leaf is no X.509-SVID
	SubjectDN string // as nginx writes it in $ssl_client_s_dn (RFC 2253)
	IssuerDN  string
	Serial    string // hexadecimal in capitals, an even number of digits, as nginx writes it

	SHA1   string // of the leaf, hexadecimal
	SHA256 string

	// Until is when the verdict must be taken anew: the first certificate of
	// the path expires, or what is known of revocation is to be asked again.
	Until time.Time
	// Doubt is why it is not known whether a certificate of the path has been
	// revoked, a *Fault; nil if it is known, or was not asked.
	Doubt error
}

// Names are what the leaf is said to be called. Only IP addresses are given in
// another form than the certificate has them in.
type Names struct {
	CommonName string // "" if there is none, or several
	DNS        []string
	Email      []string
	URI        []string
	IP         []netip.Addr
}

// Unverified reads what a certificate says of itself. Nobody vouches for any of
// it: it may be logged or passed on as such, and decides nothing. It fails with
// an *Error of reason BadName.
func Unverified(leaf *x509.Certificate) (*Identity, error) {
	id, err := identify(leaf)
	if err != nil {
		return nil, err
	}
	id.Until = leaf.NotAfter
	return id, nil
}

func identify(leaf *x509.Certificate) (*Identity, error) {
	if err := checkNames(leaf); err != nil {
		return nil, refuse(BadName, leaf, err)
	}
	id := &Identity{Leaf: leaf, Serial: serialText(leaf.SerialNumber)}
	var err error
	if id.SubjectDN, err = nameText(leaf.RawSubject); err != nil {
		return nil, refuse(BadName, nil, err)
	}
	if id.IssuerDN, err = nameText(leaf.RawIssuer); err != nil {
		return nil, refuse(BadName, leaf, err)
	}
	if id.Names, err = namesOf(leaf); err != nil {
		return nil, refuse(BadName, leaf, err)
	}
	id.SPIFFE = spiffeID(leaf, &id.Names)
	one, two := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw)
	id.SHA1, id.SHA256 = hex.EncodeToString(one[:]), hex.EncodeToString(two[:])
	return id, nil
}

// serialText writes a serial number as OpenSSL's BN_bn2hex does.
func serialText(n *big.Int) string {
	if n == nil || n.Sign() == 0 {
		return "00"
	}
	s := strings.ToUpper(hex.EncodeToString(n.Bytes()))
	if n.Sign() < 0 {
		return "-" + s
	}
	return s
}

// checkNames bounds the names of a certificate before anything reads them.
func checkNames(c *x509.Certificate) error {
	if len(c.RawSubject) > maxNameBytes || len(c.RawIssuer) > maxNameBytes {
		return fmt.Errorf("a distinguished name of over %d bytes", maxNameBytes)
	}
	return nil
}

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// The kinds of subject alternative names that are read (RFC 5280 section
// 4.2.1.6); others are passed over.
const (
	sanEmail = 1
	sanDNS   = 2
	sanURI   = 6
	sanIP    = 7
)

func namesOf(c *x509.Certificate) (Names, error) {
	var n Names
	cn, err := commonName(c.RawSubject)
	if err != nil {
		return n, err
	}
	if n.CommonName = cn; !plain(cn) {
		return n, errors.New("the common name has control characters")
	}
	for _, ext := range c.Extensions {
		if ext.Id.Equal(oidSAN) {
			if err := n.readSANs(ext.Value); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

var errSAN = errors.New("the subject alternative names are malformed")

// readSANs takes the names as they are written: crypto/x509 keeps URIs parsed
// only, in which different spellings become one.
func (n *Names) readSANs(ext []byte) error {
	in := cryptobyte.String(ext)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, tags.SEQUENCE) || !in.Empty() {
		return errSAN
	}
	for count := 0; !seq.Empty(); count++ {
		var value cryptobyte.String
		var tag tags.Tag
		if !seq.ReadAnyASN1(&value, &tag) {
			return errSAN
		}
		if count == maxSANs {
			return fmt.Errorf("over %d subject alternative names", maxSANs)
		}
		if len(value) > maxSANBytes {
			return fmt.Errorf("a subject alternative name of over %d bytes", maxSANBytes)
		}
		if err := n.add(tag, value); err != nil {
			return err
		}
	}
	return nil
}

func (n *Names) add(tag tags.Tag, value []byte) error {
	var list *[]string
	switch tag {
	case tags.Tag(sanEmail).ContextSpecific():
		list = &n.Email
	case tags.Tag(sanDNS).ContextSpecific():
		list = &n.DNS
	case tags.Tag(sanURI).ContextSpecific():
		list = &n.URI
	case tags.Tag(sanIP).ContextSpecific():
		addr, ok := netip.AddrFromSlice(value)
		if !ok {
			return errSAN
		}
		n.IP = append(n.IP, addr)
		return nil
	default:
		return nil
	}
	s := string(value)
	if s == "" || !isASCII(value) || !plain(s) {
		return errors.New("a subject alternative name is empty or not printable ASCII")
	}
	*list = append(*list, s)
	return nil
}

// plain reports whether s has no control characters, which could say one thing
// in a log or a header and another to whoever compares names.
func plain(s string) bool {
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return false
		}
	}
	return true
}
