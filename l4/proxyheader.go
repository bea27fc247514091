package l4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt
// specifies it. A header is taken as it stands or refused: whoever sends one is
// configured to do so, and a doubtful one would give a client another's address.

const (
	// maxProxyLine bounds a header of version 1, the line's end included; the
	// specification says that no more is needed.
	maxProxyLine = 107
	// maxProxyHeader bounds a header of version 2. Addresses take 52 bytes of
	// it; the rest is for extensions, of which a certificate's names are long.
	maxProxyHeader = 4 << 10
)

// ErrProxyHeader is wrapped by what is wrong with a PROXY header.
var ErrProxyHeader = errors.New("bad PROXY header")

// proxyError is a fault of a header.
type proxyError string

func (e proxyError) Error() string { return ErrProxyHeader.Error() + ": " + string(e) }

func (proxyError) Unwrap() error { return ErrProxyHeader }

// ProxyHeader is what a PROXY header tells of a connection.
type ProxyHeader struct {
	Client netip.AddrPort // who opened it; the zero value: the header does not say
	Local  netip.AddrPort // where it was opened to; valid if Client is
}

// proxySignature opens a header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyLineStart opens a header of version 1.
const proxyLineStart = "PROXY "

// ParseProxyHeader parses the header that b begins with. size is how long it
// is; if it is greater than len(b), at least so many bytes are needed, and h is
// not filled yet. It never asks for a byte behind the header.
func ParseProxyHeader(b []byte) (h ProxyHeader, size int, err error) {
	switch {
	case matchesStart(b, proxyLineStart):
		return parseProxyLine(b)
	case matchesStart(b, proxySignature):
		return parseProxyBinary(b, proxyStream)
	}
	return h, 0, proxyError("the connection begins with something else")
}

// ParseProxyDatagram parses the header that a datagram begins with, which is of
// version 2 and of a client that speaks UDP. size is how long it is; what
// follows is the client's.
func ParseProxyDatagram(b []byte) (h ProxyHeader, size int, err error) {
	if !matchesStart(b, proxySignature) {
		return h, 0, proxyError("the datagram begins with something else")
	}
	h, size, err = parseProxyBinary(b, proxyDatagram)
	if err == nil && size > len(b) {
		return ProxyHeader{}, 0, proxyError("it is cut off")
	}
	return h, size, err
}

// matchesStart reports whether b, as far as it goes, begins with start.
func matchesStart(b []byte, start string) bool {
	n := min(len(b), len(start))
	return string(b[:n]) == start[:n]
}

// parseProxyLine parses version 1: a line of text.
func parseProxyLine(b []byte) (h ProxyHeader, size int, err error) {
	line := b[:min(len(b), maxProxyLine)]
	end := bytes.IndexByte(line, '\n')
	switch {
	case end < 0 && len(line) == maxProxyLine:
		return h, 0, proxyError("the line is longer than " + strconv.Itoa(maxProxyLine) + " bytes")
	case end < 0:
		return h, max(len(b)+1, len(proxyLineStart)), nil
	case line[end-1] != '\r': // the line has a beginning, so there is a byte
		return h, 0, proxyError("the line does not end with CR and LF")
	}
	text := string(line[len(proxyLineStart) : end-1])
	if text == "UNKNOWN" || strings.HasPrefix(text, "UNKNOWN ") {
		return h, end + 1, nil // whatever follows it is to be ignored
	}
	h, err = parseProxyWords(text)
	return h, end + 1, err
}

// parseProxyWords parses what follows PROXY: family, addresses and ports,
// parted by one space each.
func parseProxyWords(text string) (h ProxyHeader, err error) {
	var words [5]string
	n := 0
	for word := range strings.SplitSeq(text, " ") {
		if n == len(words) {
			return h, proxyError("the line has too many words")
		}
		words[n] = word
		n++
	}
	if n < len(words) {
		return h, proxyError("the line has too few words")
	}
	is4 := words[0] == "TCP4"
	if !is4 && words[0] != "TCP6" {
		return h, proxyError("the family is none of TCP4, TCP6 and UNKNOWN")
	}
	client, ok1 := parseProxyAddr(words[1], words[3], is4)
	local, ok2 := parseProxyAddr(words[2], words[4], is4)
	if !ok1 || !ok2 {
		return h, proxyError("an address or a port is not valid")
	}
	return ProxyHeader{Client: client, Local: local}, nil
}

func parseProxyAddr(addr, port string, is4 bool) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() != is4 || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(n)), true
}

// Parts of a header of version 2.
const (
	proxyFixed = 16 // signature, version and command, family, length

	proxyVersion = 0x20 // in the upper half of the byte
	proxyLocal   = 0x20 // the proxy speaks for itself, such as to check our health
	proxyProxy   = 0x21 // it speaks for a client

	// The family is an address family and, in the lower half of the byte, a
	// kind of transport.
	proxyUnspec   = 0x00
	proxyIPv4     = 0x10
	proxyIPv6     = 0x20
	proxyStream   = 0x01
	proxyDatagram = 0x02

	proxyCRC32C = 0x03 // the extension that holds a checksum of the header
)

// parseProxyBinary parses version 2, of a client with a kind of transport.
func parseProxyBinary(b []byte, transport byte) (h ProxyHeader, size int, err error) {
	if len(b) < proxyFixed {
		return h, proxyFixed, nil
	}
	command, family := b[12], b[13]
	size = proxyFixed + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command&0xf0 != proxyVersion:
		return h, 0, proxyError("the version is none of 1 and 2")
	case command != proxyLocal && command != proxyProxy:
		return h, 0, proxyError("the command is none of LOCAL and PROXY")
	case size > maxProxyHeader:
		return h, 0, proxyError("it is longer than " + strconv.Itoa(maxProxyHeader) + " bytes")
	case len(b) < size:
		return h, size, nil
	}
	if command == proxyLocal || family == proxyUnspec {
		return h, size, nil // what follows it is to be ignored
	}
	b = b[:size]
	addresses := b[proxyFixed:]
	var n int // bytes of an address
	switch family {
	case proxyIPv4 | transport:
		n = 4
	case proxyIPv6 | transport:
		n = 16
	default: // another transport and Unix sockets, which no client here comes from
		if transport == proxyDatagram {
			return h, 0, proxyError("the family is none of UDP over IPv4 and over IPv6")
		}
		return h, 0, proxyError("the family is none of TCP over IPv4 and over IPv6")
	}
	if len(addresses) < 2*n+4 {
		return h, 0, proxyError("it is too short for its addresses")
	}
	if err := checkExtensions(b, proxyFixed+2*n+4); err != nil {
		return h, 0, err
	}
	ports := addresses[2*n:]
	client, _ := netip.AddrFromSlice(addresses[:n])
	local, _ := netip.AddrFromSlice(addresses[n : 2*n])
	h.Client = netip.AddrPortFrom(client, binary.BigEndian.Uint16(ports))
	h.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(ports[2:]))
	return h, size, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkExtensions goes through the extensions (TLV) of a whole header, which
// begin at a place in it, and checks the checksum, if there is one.
func checkExtensions(header []byte, at int) error {
	const head = 3 // one byte of type, two of length
	summed := false
	for at < len(header) {
		if len(header)-at < head {
			return proxyError("an extension is cut off")
		}
		kind, n := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		at += head
		if len(header)-at < n {
			return proxyError("an extension is cut off")
		}
		if kind == proxyCRC32C {
			if n != crc32.Size || summed {
				return proxyError("the checksum is not of 4 bytes, or not the only one")
			}
			summed = true
			// The sum is of the header with zeros in its own place.
			sum := crc32.Update(0, castagnoli, header[:at])
			sum = crc32.Update(sum, castagnoli, make([]byte, crc32.Size))
			sum = crc32.Update(sum, castagnoli, header[at+n:])
			if sum != binary.BigEndian.Uint32(header[at:]) {
				return proxyError("the checksum is wrong")
			}
		}
		at += n
	}
	return nil
}
