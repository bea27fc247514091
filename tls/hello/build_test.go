package hello

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// parts is a ClientHello as a test wants it; the zero value is a short one that
// is right.
type parts struct {
	version     uint16 // 0: TLS 1.2
	sessionID   string
	ciphers     []uint16 // nil: TLS_AES_128_GCM_SHA256
	compression string   // "": null
	extensions  []extension
	bare        bool   // not even an empty list of extensions
	tail        string // behind all
}

type extension struct {
	kind uint16
	data string
}

// message returns the hello with its head, without records.
func (p parts) message() []byte {
	if p.version == 0 {
		p.version = 0x0303
	}
	if p.ciphers == nil {
		p.ciphers = []uint16{0x1301}
	}
	if p.compression == "" {
		p.compression = "\x00"
	}
	body := number(p.version) + strings.Repeat("r", randomBytes) +
		vector8(p.sessionID) + vector16(numbers(p.ciphers...)) + vector8(p.compression)
	if !p.bare {
		var list strings.Builder
		for _, e := range p.extensions {
			list.WriteString(number(e.kind) + vector16(e.data))
		}
		body += vector16(list.String())
	}
	body += p.tail
	return append([]byte{1, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// record returns the hello in one record.
func (p parts) record() []byte { return records(p.message(), maxRecord) }

// records returns a message in records of n bytes each.
func records(msg []byte, n int) (b []byte) {
	for part := range slices.Chunk(msg, n) {
		b = append(b, contentRecord, 3, 1)
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
		b = append(b, part...)
	}
	return b
}

func number(v uint16) string { return string(binary.BigEndian.AppendUint16(nil, v)) }

func numbers(list ...uint16) (s string) {
	for _, v := range list {
		s += number(v)
	}
	return s
}

func vector8(s string) string  { return string([]byte{byte(len(s))}) + s }
func vector16(s string) string { return number(uint16(len(s))) + s }

func sni(name string) extension {
	return extension{extServerName, vector16("\x00" + vector16(name))}
}

func alpn(protocols ...string) extension {
	list := ""
	for _, p := range protocols {
		list += vector8(p)
	}
	return extension{extALPN, vector16(list)}
}

func versions(list ...uint16) extension {
	return extension{extSupportedVersions, vector8(numbers(list...))}
}

func groups(list ...uint16) extension {
	return extension{extSupportedGroups, vector16(numbers(list...))}
}

func signatures(list ...uint16) extension {
	return extension{extSignatureAlgorithms, vector16(numbers(list...))}
}

// empty returns extensions whose content nobody looks at.
func empty(kinds ...uint16) (list []extension) {
	for _, k := range kinds {
		list = append(list, extension{kind: k})
	}
	return list
}

// chrome is the hello that the definition of JA4 has as its example, with
// numbers of RFC 8701 where Chrome puts them. keyBytes is the size of its key
// shares.
func chrome(name string, keyBytes int) parts {
	return parts{
		sessionID: strings.Repeat("s", maxSessionID),
		ciphers: []uint16{
			0x4a4a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030,
			0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
		},
		extensions: []extension{
			{kind: 0xdada},
			{27, "\x02\x00\x02"},
			sni(name),
			{51, vector16(strings.Repeat("k", keyBytes))},
			alpn("h2", "http/1.1"),
			{kind: 0x4469},
			{kind: 23},
			{45, "\x01\x01"},
			signatures(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601),
			{5, "\x01\x00\x00\x00\x00"},
			{kind: 35},
			{kind: 18},
			versions(0x1a1a, 0x0304, 0x0303),
			{0xff01, "\x00"},
			{11, "\x01\x00"},
			groups(0xfafa, 0x11ec, 0x001d, 0x0017, 0x0018),
			{0x2a2a, "\x00"},
			{21, strings.Repeat("\x00", 100)},
		},
	}
}

// rebuild returns a message that says what info says.
func rebuild(info *Info) []byte {
	p := parts{
		version:   info.LegacyVersion,
		sessionID: strings.Repeat("s", info.SessionIDLen),
		ciphers:   slices.Collect(info.CipherSuites.All()),
		bare:      info.Extensions.Len() == 0,
	}
	for kind := range info.Extensions.All() {
		e := extension{kind: kind}
		switch kind {
		case extServerName:
			e = sni(info.ServerName)
			if info.ServerName == "" {
				e.data = vector16("\x01\x00\x00") // another type, of which there is none
			}
		case extALPN:
			e = alpn(info.ALPN...)
		case extSupportedVersions:
			e.data = vector8(string(info.Versions))
		case extSupportedGroups:
			e.data = vector16(string(info.Groups))
		case extSignatureAlgorithms:
			e.data = vector16(string(info.SignatureAlgorithms))
		case extPreSharedKey:
			e.data = vector16("i") + vector16("b")
		case extECH:
			e.data = "\x01"
			if info.ECH == ECHOuter {
				e.data = "\x00\x00\x01\x00\x01\x07" + vector16("") + vector16("p")
			}
		}
		p.extensions = append(p.extensions, e)
	}
	return p.message()
}

// parse parses what must be whole and right.
func parse(t testing.TB, b []byte) *Info {
	t.Helper()
	info, size, err := Parse(b)
	if err != nil || info == nil || size > len(b) {
		t.Fatalf("got %v, size %d of %d, error %v", info, size, len(b), err)
	}
	return info
}
