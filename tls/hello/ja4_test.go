package hello

import (
	"slices"
	"sync"
	"testing"
)

// without returns p without one of its extensions.
func without(p parts, kind uint16) parts {
	p.extensions = slices.DeleteFunc(slices.Clone(p.extensions), func(e extension) bool { return e.kind == kind })
	return p
}

// TestJA4 holds the fingerprint to the examples in its definition
// (technical_details/JA4.md of FoxIO-LLC/ja4).
func TestJA4(t *testing.T) {
	example := chrome("www.example.com", 32)
	grease := example
	grease.extensions = slices.Clone(example.extensions)
	for i, e := range grease.extensions {
		if e.kind == extSignatureAlgorithms {
			grease.extensions[i].data = vector16("\x3a\x3a" + e.data[2:])
		}
	}
	many := parts{}
	for i := range uint16(150) {
		many.ciphers = append(many.ciphers, 0xc000+i)
		many.extensions = append(many.extensions, extension{kind: 0x7000 + i})
	}
	tests := []struct {
		name  string
		parts parts
		want  string
	}{
		{"example", example, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"GREASE among the signature algorithms", grease, "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"without signature algorithms, type left", func() parts {
			p := without(example, extSignatureAlgorithms)
			return p
		}(), "t13d1515h2_8daaf6152771_" + digest("0005,000a,000b,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01")},
		{"no server name", without(example, extServerName), "t13i1515h2_8daaf6152771_e5627efa2ab1"},
		{"no ALPN", without(example, extALPN), "t13d151500_8daaf6152771_e5627efa2ab1"},
		{"no versions", without(example, extSupportedVersions), "t12d1515h2_8daaf6152771_" +
			digest("0005,000a,000b,000d,0012,0015,0017,001b,0023,002d,0033,4469,ff01_0403,0804,0401,0503,0805,0501,0806,0601")},
		{"bare", parts{bare: true, version: 0x0301, ciphers: []uint16{0x00ff, 0x000a, 0x5600}}, "t10i030000_" + digest("000a,00ff,5600") + "_000000000000"},
		{"only name and ALPN", parts{extensions: []extension{sni("a.b"), alpn("http/1.1")}}, "t12d0102h1_" + digest("1301") + "_000000000000"},
		{"no suite that means something", parts{bare: true, ciphers: []uint16{0x0a0a}}, "t12i000000_000000000000_000000000000"},
		{"too many to count", many, "t12i999900_" + digest(listed(0xc000, 150)) + "_" + digest(listed(0x7000, 150))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parse(t, tt.parts.record()).JA4(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestJA4Extensions holds the hash of extensions without signature algorithms
// to the definition's example.
func TestJA4Extensions(t *testing.T) {
	list := []uint16{5, 0xa, 0xb, 0xd, 0x12, 0x15, 0x17, 0x1b, 0x23, 0x2b, 0x2d, 0x33, 0x4469, 0xff01}
	if got := string(appendHash(nil, list, nil)); got != "6d807ffa2a79" {
		t.Errorf("got %s", got)
	}
}

// TestJA4QUIC holds the fingerprint of Chrome's hello over QUIC to what the
// reference implementation finds in a capture of it.
func TestJA4QUIC(t *testing.T) {
	p := parts{
		ciphers: []uint16{0x1301, 0x1302, 0x1303},
		extensions: append([]extension{
			sni("cloudflare-quic.com"), alpn("h3"), versions(0x0304), groups(0x001d, 0x0017, 0x0018),
			signatures(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201),
		}, empty(extTransportParameters, 0x4469, 0x2d, 0x33, 0x1b)...),
	}
	info, _, err := ParseQUIC(p.message())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.JA4(), "q13d0310h3_55b375c5d22e_cd85d2d88918"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestJA4Protocol holds the characters of ALPN to the definition's examples.
func TestJA4Protocol(t *testing.T) {
	tests := []struct{ protocol, want string }{
		{"h2", "h2"},
		{"http/1.1", "h1"},
		{"a", "aa"},
		{"\xab", "ab"},
		{"\x20", "20"},
		{"\xab\xcd", "ad"},
		{"\x20\x61", "21"},
		{"\x30\xab", "3b"},
		{"\x61\x20", "60"},
		{"\x30\x31\xab\xcd", "3d"},
		{"\x30\xab\xcd\x31", "01"},
		{"Z-9", "Z9"},
	}
	for _, tt := range tests {
		info := parse(t, parts{extensions: []extension{alpn(tt.protocol)}}.record())
		if got := info.JA4()[8:10]; got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.protocol, got, tt.want)
		}
	}
}

func TestJA4Version(t *testing.T) {
	for v, want := range map[uint16]string{
		0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2",
		0xfeff: "d1", 0xfefd: "d2", 0xfefc: "d3", 0x0305: "00", 0: "00",
	} {
		info := parse(t, parts{extensions: []extension{versions(v, 0x0a0a)}}.record())
		if got := info.JA4()[1:3]; got != want {
			t.Errorf("%#x: got %s, want %s", v, got, want)
		}
	}
}

// TestJA4AtOnce asks from several goroutines.
func TestJA4AtOnce(t *testing.T) {
	info := parse(t, chrome("www.example.com", 32).record())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := info.JA4(); got != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
				t.Errorf("got %s", got)
			}
		})
	}
	all.Wait()
}
