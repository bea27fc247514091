package hello

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// JA4 returns the fingerprint of the client's software, as FoxIO defines it in
// technical_details/JA4.md: 36 characters such as
// t13d1516h2_8daaf6152771_e5627efa2ab1. It is worked out when first asked for,
// which makes 1 allocation.
func (i *Info) JA4() string {
	i.ja4Once.Do(func() { i.ja4 = i.fingerprint() })
	return i.ja4
}

const ja4Bytes = 36

func (i *Info) fingerprint() string {
	var cipherRoom, extensionRoom, signatureRoom [64]uint16
	ciphers := appendReal(cipherRoom[:0], i.CipherSuites)
	extensions := appendReal(extensionRoom[:0], i.Extensions)
	signatures := appendReal(signatureRoom[:0], i.SignatureAlgorithms)

	var room [ja4Bytes]byte
	out := append(room[:0], 't')
	if i.QUIC {
		out[0] = 'q'
	}
	out = append(out, ja4Version(i.Version)...)
	if slices.Contains(extensions, extServerName) {
		out = append(out, 'd')
	} else {
		out = append(out, 'i')
	}
	out = appendCount(out, len(ciphers))
	out = appendCount(out, len(extensions))
	out = appendProtocol(out, i.ALPN)

	slices.Sort(ciphers)
	out = append(out, '_')
	out = appendHash(out, ciphers, nil)

	// Both stand in the first part already.
	extensions = slices.DeleteFunc(extensions, func(v uint16) bool { return v == extServerName || v == extALPN })
	slices.Sort(extensions)
	out = append(out, '_')
	out = appendHash(out, extensions, signatures)
	return string(out)
}

// appendReal appends the numbers that mean something.
func appendReal(b []uint16, codes Codes) []uint16 {
	for v := range codes.All() {
		if !grease(v) {
			b = append(b, v)
		}
	}
	return b
}

// ja4Version returns the two characters for a version.
func ja4Version(v uint16) string {
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// appendCount appends two digits.
func appendCount(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, '0'+byte(n/10), '0'+byte(n%10))
}

// appendProtocol appends the first and the last character of the first
// protocol; if one of them is no letter or digit, of its bytes in hexadecimal.
func appendProtocol(b []byte, protocols []string) []byte {
	if len(protocols) == 0 {
		return append(b, '0', '0')
	}
	p := protocols[0]
	first, last := p[0], p[len(p)-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		const digits = "0123456789abcdef"
		first, last = digits[first>>4], digits[last&15]
	}
	return append(b, first, last)
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= lower(c) && lower(c) <= 'z'
}

// appendHash appends twelve digits of the hash of a list and of another behind
// it, twelve zeros if the first is empty.
func appendHash(b []byte, list, more []uint16) []byte {
	if len(list) == 0 {
		return append(b, "000000000000"...)
	}
	var room [1024]byte
	text := appendList(room[:0], list)
	if len(more) > 0 {
		text = append(text, '_')
		text = appendList(text, more)
	}
	sum := sha256.Sum256(text)
	return hex.AppendEncode(b, sum[:6])
}

// appendList appends numbers of four hexadecimal digits, with commas between
// them.
func appendList(b []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = hex.AppendEncode(b, []byte{byte(v >> 8), byte(v)})
	}
	return b
}
