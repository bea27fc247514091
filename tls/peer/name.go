package peer

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
)

// attribute is one type and value of a distinguished name.
type attribute struct {
	oid  string
	tag  tags.Tag
	raw  []byte // the value with its tag, as it stands
	text string // of a string type; else ""
	str  bool   // whether it is one
}

var errName = errors.New("a distinguished name is malformed")

// T61, universal and visible strings have no constants in cryptobyte.
const (
	numericString   = tags.Tag(18)
	t61String       = tags.Tag(20)
	visibleString   = tags.Tag(26)
	universalString = tags.Tag(28)
	bmpString       = tags.Tag(30)
)

// shortNames are the names that OpenSSL writes for the types of attributes which
// occur in certificates of people, machines and CAs.
var shortNames = map[string]string{
	"2.5.4.3":                    "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "street",
	"2.5.4.10":                   "O",
	"2.5.4.11":                   "OU",
	"2.5.4.12":                   "title",
	"2.5.4.13":                   "description",
	"2.5.4.15":                   "businessCategory",
	"2.5.4.17":                   "postalCode",
	"2.5.4.41":                   "name",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.44":                   "generationQualifier",
	"2.5.4.45":                   "x500UniqueIdentifier",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"2.5.4.97":                   "organizationIdentifier",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"1.2.840.113549.1.9.2":       "unstructuredName",
	"1.3.6.1.4.1.311.60.2.1.1":   "jurisdictionL",
	"1.3.6.1.4.1.311.60.2.1.2":   "jurisdictionST",
	"1.3.6.1.4.1.311.60.2.1.3":   "jurisdictionC",
}

const oidCommonName = "2.5.4.3"

// parseName reads a distinguished name (RFC 5280 section 4.1.2.4): sets of
// attributes, in the order of the encoding.
func parseName(raw []byte) ([][]attribute, error) {
	in := cryptobyte.String(raw)
	var seq cryptobyte.String
	if !in.ReadASN1(&seq, tags.SEQUENCE) || !in.Empty() {
		return nil, errName
	}
	var sets [][]attribute
	for !seq.Empty() {
		var set cryptobyte.String
		if !seq.ReadASN1(&set, tags.SET) || set.Empty() {
			return nil, errName
		}
		var list []attribute
		for !set.Empty() {
			a, ok := readAttribute(&set)
			if !ok {
				return nil, errName
			}
			list = append(list, a)
		}
		sets = append(sets, list)
	}
	return sets, nil
}

func readAttribute(set *cryptobyte.String) (a attribute, ok bool) {
	var pair, value cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !set.ReadASN1(&pair, tags.SEQUENCE) || !pair.ReadASN1ObjectIdentifier(&oid) {
		return a, false
	}
	a.oid = oid.String()
	a.raw = pair
	if !pair.ReadAnyASN1(&value, &a.tag) || !pair.Empty() {
		return a, false
	}
	a.text, a.str, ok = stringOf(a.tag, value)
	return a, ok
}

// stringOf turns a value of a string type into UTF-8. ok is false if its bytes
// are not of its type.
func stringOf(tag tags.Tag, b []byte) (text string, isString, ok bool) {
	switch tag {
	case tags.UTF8String:
		return string(b), true, utf8.Valid(b)
	case tags.PrintableString, tags.IA5String, numericString, visibleString:
		return string(b), true, isASCII(b)
	case t61String: // read as Latin-1, as OpenSSL does
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		return string(runes), true, true
	case bmpString:
		if len(b)%2 != 0 {
			return "", true, false
		}
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
			if utf16.IsSurrogate(rune(units[i])) {
				return "", true, false
			}
		}
		return string(utf16.Decode(units)), true, true
	case universalString:
		return "", true, false // crypto/x509 does not read it either
	}
	return "", false, true
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// nameText writes a distinguished name as OpenSSL does with -nameopt RFC2253 and
// nginx in $ssl_client_s_dn: the last attribute first, everything that is not
// printable ASCII escaped.
func nameText(raw []byte) (string, error) {
	sets, err := parseName(raw)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for i := len(sets) - 1; i >= 0; i-- {
		if i < len(sets)-1 {
			b.WriteByte(',')
		}
		for j := len(sets[i]) - 1; j >= 0; j-- {
			if j < len(sets[i])-1 {
				b.WriteByte('+')
			}
			sets[i][j].write(&b)
		}
	}
	return b.String(), nil
}

func (a *attribute) write(b *strings.Builder) {
	name, known := shortNames[a.oid]
	if !known {
		name = a.oid
	}
	b.WriteString(name)
	b.WriteByte('=')
	if !known || !a.str {
		b.WriteByte('#')
		b.WriteString(strings.ToUpper(hex.EncodeToString(a.raw)))
		return
	}
	for i := range len(a.text) {
		c := a.text[i]
		switch {
		case strings.IndexByte(`,+"\<>;`, c) >= 0,
			i == 0 && (c == ' ' || c == '#'),
			i == len(a.text)-1 && c == ' ':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			const digits = "0123456789ABCDEF"
			b.WriteByte('\\')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		default:
			b.WriteByte(c)
		}
	}
}

// commonName returns the name's CN, or "" if it has none or several: which of
// several counts is read differently by different software.
func commonName(raw []byte) (string, error) {
	sets, err := parseName(raw)
	if err != nil {
		return "", err
	}
	var cn string
	found := 0
	for _, set := range sets {
		for _, a := range set {
			if a.oid == oidCommonName && a.str {
				cn = a.text
				found++
			}
		}
	}
	if found != 1 {
		return "", nil
	}
	return cn, nil
}
