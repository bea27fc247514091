package l4

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// binaryHeader returns a header of version 2.
func binaryHeader(command, family byte, parts ...string) string {
	rest := strings.Join(parts, "")
	b := append([]byte(proxySignature), command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(b) + rest
}

// extension returns one of version 2.
func extension(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed returns the header whose last extension is a checksum, with the right
// one in it.
func summed(header string) string {
	sum := crc32.Checksum([]byte(header), crc32.MakeTable(crc32.Castagnoli))
	return string(binary.BigEndian.AppendUint32([]byte(header[:len(header)-4]), sum))
}

const (
	tcp4 = "\xcb\x00\x71\x07\xc6\x33\x64\x09\xdc\x04\x01\xbb" // 203.0.113.7:56324 to 198.51.100.9:443
	tcp6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\xdc\x04\x01\xbb"
	zeroSum = "\x00\x00\x00\x00"
)

func TestParseProxyHeader(t *testing.T) {
	const v4, v6 = "203.0.113.7:56324 198.51.100.9:443", "[2001:db8::7]:56324 [2001:db8::9]:443"
	tests := []struct {
		name, header string
		want         string // client and local address; "" for none
		err          string
	}{
		{"v1 TCP4", "PROXY TCP4 203.0.113.7 198.51.100.9 56324 443\r\n", v4, ""},
		{"v1 TCP6", "PROXY TCP6 2001:db8::7 2001:db8::9 56324 443\r\n", v6, ""},
		{"v1 TCP6 in full", "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0007 2001:DB8:0:0:0:0:0:9 56324 443\r\n", v6, ""},
		{"v1 longest", "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", ""},
		{"v1 port 0", "PROXY TCP4 203.0.113.7 198.51.100.9 0 443\r\n", "203.0.113.7:0 198.51.100.9:443", ""},
		{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", "", ""},
		{"v1 UNKNOWN with more", "PROXY UNKNOWN ffff::1 anything at all\r\n", "", ""},
		{"v1 UNKNOWN of 107 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", "", ""},
		{"v1 of 108 bytes", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", "", "longer than 107 bytes"},
		{"v1 never ends", "PROXY TCP4 " + strings.Repeat("1", 200), "", "longer than 107 bytes"},
		{"v1 without CR", "PROXY UNKNOWN\n", "", "does not end with CR and LF"},
		{"v1 LF at once", "PROXY \n", "", "does not end with CR and LF"},
		{"v1 of nothing", "PROXY \r\n", "", "too few words"},
		{"v1 CR within", "PROXY TCP4 203.0.113.7 198.51.100.9\r56324 443\r\n", "", "too few words"},
		{"v1 too few words", "PROXY TCP4 203.0.113.7 198.51.100.9 56324\r\n", "", "too few words"},
		{"v1 too many words", "PROXY TCP4 203.0.113.7 198.51.100.9 56324 443 1\r\n", "", "too many words"},
		{"v1 space at the end", "PROXY TCP4 203.0.113.7 198.51.100.9 56324 443 \r\n", "", "too many words"},
		{"v1 two spaces", "PROXY TCP4  203.0.113.7 198.51.100.9 56324 443\r\n", "", "too many words"},
		{"v1 tab", "PROXY TCP4\t203.0.113.7 198.51.100.9 56324 443\r\n", "", "too few words"},
		{"v1 family", "PROXY UDP4 203.0.113.7 198.51.100.9 56324 443\r\n", "", "the family"},
		{"v1 family in lower case", "PROXY tcp4 203.0.113.7 198.51.100.9 56324 443\r\n", "", "the family"},
		{"v1 UNKNOWN and a letter", "PROXY UNKNOWNS\r\n", "", "too few words"},
		{"v1 IPv6 as TCP4", "PROXY TCP4 2001:db8::7 2001:db8::9 56324 443\r\n", "", "not valid"},
		{"v1 IPv4 as TCP6", "PROXY TCP6 203.0.113.7 198.51.100.9 56324 443\r\n", "", "not valid"},
		{"v1 zone", "PROXY TCP6 fe80::7%eth0 fe80::9%eth0 56324 443\r\n", "", "not valid"},
		{"v1 zeros in an address", "PROXY TCP4 203.0.113.007 198.51.100.9 56324 443\r\n", "", "not valid"},
		{"v1 zeros in a port", "PROXY TCP4 203.0.113.7 198.51.100.9 056324 443\r\n", "", "not valid"},
		{"v1 sign of a port", "PROXY TCP4 203.0.113.7 198.51.100.9 +56324 443\r\n", "", "not valid"},
		{"v1 large port", "PROXY TCP4 203.0.113.7 198.51.100.9 65536 443\r\n", "", "not valid"},
		{"v1 host name", "PROXY TCP4 localhost 198.51.100.9 56324 443\r\n", "", "not valid"},
		{"v1 in lower case", "proxy TCP4 203.0.113.7 198.51.100.9 56324 443\r\n", "", "begins with something else"},

		{"v2 TCP4", binaryHeader(0x21, 0x11, tcp4), v4, ""},
		{"v2 TCP6", binaryHeader(0x21, 0x21, tcp6), v6, ""},
		{"v2 LOCAL", binaryHeader(0x20, 0x00), "", ""},
		{"v2 LOCAL with addresses", binaryHeader(0x20, 0x11, tcp4), "", ""},
		{"v2 LOCAL of any family", binaryHeader(0x20, 0xff, "xyz"), "", ""},
		{"v2 family not known", binaryHeader(0x21, 0x00, "xyz"), "", ""},
		{"v2 extensions", binaryHeader(0x21, 0x11, tcp4, extension(0x04, "\x00\x00"), extension(0x05, "id"), extension(0xea, "")), v4, ""},
		{"v2 checksum", summed(binaryHeader(0x21, 0x21, tcp6, extension(0x05, "id"), extension(0x03, zeroSum))), v6, ""},
		{"v2 wrong checksum", binaryHeader(0x21, 0x11, tcp4, extension(0x03, zeroSum)), "", "checksum is wrong"},
		{"v2 two checksums", binaryHeader(0x21, 0x11, tcp4, extension(0x03, zeroSum), extension(0x03, zeroSum)), "", "checksum"},
		{"v2 short checksum", binaryHeader(0x21, 0x11, tcp4, extension(0x03, "\x00")), "", "checksum is not of 4 bytes"},
		{"v2 extension cut in its head", binaryHeader(0x21, 0x11, tcp4, "\x05\x00"), "", "cut off"},
		{"v2 extension cut in its value", binaryHeader(0x21, 0x11, tcp4, "\x05\x00\x03id"), "", "cut off"},
		{"v2 of 4096 bytes", binaryHeader(0x21, 0x11, tcp4, extension(0x05, strings.Repeat("x", 4096-16-12-3))), v4, ""},
		{"v2 of 4097 bytes", binaryHeader(0x21, 0x11, tcp4, extension(0x05, strings.Repeat("x", 4097-16-12-3))), "", "longer than 4096 bytes"},
		{"v2 too short for TCP4", binaryHeader(0x21, 0x11, tcp4[:11]), "", "too short for its addresses"},
		{"v2 too short for TCP6", binaryHeader(0x21, 0x21, tcp6[:35]), "", "too short for its addresses"},
		{"v2 version 1", binaryHeader(0x11, 0x11, tcp4), "", "the version"},
		{"v2 version 3", binaryHeader(0x31, 0x11, tcp4), "", "the version"},
		{"v2 command", binaryHeader(0x22, 0x11, tcp4), "", "the command"},
		{"v2 UDP", binaryHeader(0x21, 0x12, tcp4), "", "the family"},
		{"v2 Unix", binaryHeader(0x21, 0x31, strings.Repeat("\x00", 216)), "", "the family"},

		{"HTTP", "GET / HTTP/1.1\r\n", "", "begins with something else"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00", "", "begins with something else"},
		{"HTTP behind empty lines", "\r\n\r\nGET / HTTP/1.1\r\n", "", "begins with something else"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, size, err := ParseProxyHeader([]byte(tt.header + "GET / HTTP/1.1\r\n"))
			if tt.err != "" {
				if !errors.Is(err, ErrProxyHeader) || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if h.Client.IsValid() {
				got = h.Client.String() + " " + h.Local.String()
			}
			if got != tt.want || size != len(tt.header) {
				t.Errorf("addresses %q, size %d; want %q, %d", got, size, tt.want, len(tt.header))
			}
			checkPrefixes(t, []byte(tt.header))
		})
	}
}

// checkPrefixes holds what the parser asks for against a header it accepts: as
// long as a byte is missing it wants more, and never more than there is.
func checkPrefixes(t *testing.T, header []byte) {
	t.Helper()
	for n := range header {
		_, size, err := ParseProxyHeader(header[:n])
		if err != nil || size <= n || size > len(header) {
			t.Fatalf("the first %d of %d bytes: size %d, %v", n, len(header), size, err)
		}
	}
}

// TestProxyHeadersOfTheLibrary reads what another implementation writes.
func TestProxyHeadersOfTheLibrary(t *testing.T) {
	for _, version := range []byte{1, 2} {
		for _, ends := range [][2]string{{"203.0.113.7:56324", "198.51.100.9:443"}, {"[2001:db8::7]:1", "[2001:db8::9]:65535"}} {
			client, local := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
			b, err := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(client), net.TCPAddrFromAddrPort(local)).Format()
			if err != nil {
				t.Fatal(err)
			}
			h, size, err := ParseProxyHeader(b)
			if err != nil || size != len(b) || h != (ProxyHeader{client, local}) {
				t.Errorf("version %d, %v: %+v, size %d of %d, %v", version, ends, h, size, len(b), err)
			}
		}
	}
}

// FuzzParseProxyHeader holds the parser against itself on every part of the
// input, and against another implementation: whatever gives a client an address
// here must give it the same one there.
func FuzzParseProxyHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 203.0.113.7 198.51.100.9 56324 443\r\nGET / HTTP/1.1\r\n\r\n",
		"PROXY TCP6 2001:db8::7 ::ffff:198.51.100.9 56324 443\r\n",
		"PROXY UNKNOWN anything\r\n",
		binaryHeader(0x21, 0x11, tcp4, extension(0x05, "id")) + "\x16\x03\x01",
		summed(binaryHeader(0x21, 0x21, tcp6, extension(0x03, zeroSum))),
		binaryHeader(0x20, 0x00),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, size, err := ParseProxyHeader(b)
		switch {
		case err != nil:
			if !errors.Is(err, ErrProxyHeader) || h != (ProxyHeader{}) {
				t.Fatalf("%+v, %v", h, err)
			}
			return
		case size > maxProxyHeader:
			t.Fatalf("it wants %d bytes", size)
		case size > len(b):
			checkPrefixesOpen(t, b, size)
			return
		}
		checkPrefixes(t, b[:size])
		if !h.Client.IsValid() {
			return
		}
		other, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(b[:size])))
		if err != nil {
			t.Fatalf("accepted, and refused elsewhere: %v", err)
		}
		client, local, ok := other.TCPAddrs()
		if !ok || !same(client, h.Client) || !same(local, h.Local) {
			t.Errorf("addresses %+v, elsewhere %v and %v", h, client, local)
		}
	})
}

// checkPrefixesOpen is checkPrefixes for input that is not a whole header yet.
func checkPrefixesOpen(t *testing.T, b []byte, size int) {
	t.Helper()
	for n := range b {
		if _, asked, err := ParseProxyHeader(b[:n]); err != nil || asked <= n || asked > size {
			t.Fatalf("the first %d of %d bytes: size %d, %v", n, len(b), asked, err)
		}
	}
}

func same(a *net.TCPAddr, b netip.AddrPort) bool {
	ap := a.AddrPort()
	return ap.Addr().Unmap() == b.Addr().Unmap() && ap.Port() == b.Port()
}
