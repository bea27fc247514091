package schema

import (
	"crypto/sha1" // RFC 9562 section 5.5 prescribes it for version 5; nothing rests on its strength.
	"encoding/hex"
)

// ID is the UUID of an entity. The zero value means none.
type ID [16]byte

var _ Text = (*ID)(nil)

// ParseID reads the 8-4-4-4-12 form in either case.
func ParseID(s string) (ID, error) {
	var id ID
	if err := id.UnmarshalText([]byte(s)); err != nil {
		return ID{}, err
	}
	return id, nil
}

// NameID returns the version 5 UUID of name in the namespace ns (RFC 9562
// section 5.5).
func NameID(ns ID, name string) ID {
	h := sha1.New()
	h.Write(ns[:])
	h.Write([]byte(name))
	var id ID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsZero reports whether id is none.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the lower-case 8-4-4-4-12 form.
func (id ID) String() string {
	var b [36]byte
	id.put(&b)
	return string(b[:])
}

func (id ID) put(b *[36]byte) {
	hex.Encode(b[0:8], id[0:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:36], id[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
}

// MarshalText returns the string form, and nothing for the zero value.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText parses the 8-4-4-4-12 form; the nil UUID is refused because it
// means none.
func (id *ID) UnmarshalText(text []byte) error {
	bad := &Problem{Reason: "expected a valid UUID", Expected: "8-4-4-4-12 hexadecimal digits"}
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return bad
	}
	var v ID
	at := 0
	for _, part := range [...][2]int{{0, 8}, {9, 13}, {14, 18}, {19, 23}, {24, 36}} {
		n, err := hex.Decode(v[at:], text[part[0]:part[1]])
		if err != nil {
			return bad
		}
		at += n
	}
	if v.IsZero() {
		return bad
	}
	*id = v
	return nil
}

// Describe implements Text.
func (ID) Describe() Description {
	return Description{Kind: "string", Format: "uuid", Literal: true}
}

// Reference is a field that names another entity, by id or by lookup key.
// Decoding stores an id at once and reports a key as a Pending reference.
type Reference interface {
	// Target returns the collection the reference points into, and where the
	// id is kept.
	Target() (collection string, id *ID)
}
