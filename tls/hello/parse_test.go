package hello

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// public compares what an Info shows.
var public = cmpopts.IgnoreUnexported(Info{})

func TestParse(t *testing.T) {
	tests := []struct {
		name  string
		parts parts
		want  *Info
	}{
		{"the least", parts{bare: true, version: 0x0301}, &Info{
			LegacyVersion: 0x0301, Version: 0x0301, CipherSuites: "\x13\x01",
		}},
		{"no extensions", parts{}, &Info{
			LegacyVersion: 0x0303, Version: 0x0303, CipherSuites: "\x13\x01",
		}},
		{"chrome", chrome("WWW.Example.com", 1216), &Info{
			ServerName: "www.example.com", ALPN: []string{"h2", "http/1.1"},
			LegacyVersion: 0x0303, Version: 0x0304, SessionIDLen: 32,
			CipherSuites: Codes(numbers(0x4a4a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030,
				0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035)),
			Extensions:          Codes(numbers(0xdada, 27, 0, 51, 16, 0x4469, 23, 45, 13, 5, 35, 18, 43, 0xff01, 11, 10, 0x2a2a, 21)),
			Versions:            "\x1a\x1a\x03\x04\x03\x03",
			Groups:              "\xfa\xfa\x11\xec\x00\x1d\x00\x17\x00\x18",
			SignatureAlgorithms: "\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01",
		}},
		{"a version of the future", parts{extensions: []extension{versions(0x0304, 0x0305)}}, &Info{
			LegacyVersion: 0x0303, Version: 0x0305, CipherSuites: "\x13\x01",
			Extensions: "\x00\x2b", Versions: "\x03\x04\x03\x05",
		}},
		{"no version that means something", parts{extensions: []extension{versions(0x0a0a)}}, &Info{
			LegacyVersion: 0x0303, CipherSuites: "\x13\x01", Extensions: "\x00\x2b", Versions: "\x0a\x0a",
		}},
		{"resumption", parts{extensions: append(empty(extEarlyData), extension{extPreSharedKey, "\x00\x01i\x00\x01b"})}, &Info{
			LegacyVersion: 0x0303, Version: 0x0303, CipherSuites: "\x13\x01",
			Extensions: "\x00\x2a\x00\x29", EarlyData: true, PreSharedKey: true,
		}},
		{"ECH, outer", parts{extensions: []extension{
			{extECH, "\x00\x00\x01\x00\x01\x07\x00\x03enc\x00\x04load"}, sni("outer.example"),
		}}, &Info{
			ServerName: "outer.example", LegacyVersion: 0x0303, Version: 0x0303, CipherSuites: "\x13\x01",
			Extensions: "\xfe\x0d\x00\x00", ECH: ECHOuter,
		}},
		{"ECH, inner", parts{extensions: []extension{{extECH, "\x01"}}}, &Info{
			LegacyVersion: 0x0303, Version: 0x0303, CipherSuites: "\x13\x01", Extensions: "\xfe\x0d", ECH: ECHInner,
		}},
		{"a name of an unknown type", parts{extensions: []extension{
			{extServerName, vector16("\x07\x00\x01x\x00\x00\x01a\x08\x00\x00")},
		}}, &Info{
			ServerName: "a", LegacyVersion: 0x0303, Version: 0x0303, CipherSuites: "\x13\x01", Extensions: "\x00\x00",
		}},
		{"many protocols", parts{extensions: []extension{alpn("a", "b", "c", "d", "e", "\x00\xff")}}, &Info{
			ALPN: []string{"a", "b", "c", "d", "e", "\x00\xff"}, LegacyVersion: 0x0303, Version: 0x0303,
			CipherSuites: "\x13\x01", Extensions: "\x00\x10",
		}},
		{"other compressions besides", parts{compression: "\x01\x00"}, &Info{
			LegacyVersion: 0x0303, Version: 0x0303, CipherSuites: "\x13\x01",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.parts.record()
			want := len(b)
			info, size, err := Parse(append(b, "what follows"...))
			if err != nil || size != want {
				t.Fatalf("size %d, error %v; want %d and none", size, err, want)
			}
			if diff := cmp.Diff(tt.want, info, public, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestParseKeepsNothing holds that an Info lives on when the bytes are used for
// something else.
func TestParseKeepsNothing(t *testing.T) {
	b := chrome("www.example.com", 32).record()
	info, want := parse(t, b), parse(t, slices.Clone(b))
	clear(b)
	if diff := cmp.Diff(want, info, public); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, want := info.JA4(), want.JA4(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// byByte parses ever more of b until there is a result, and holds that asking
// for more is never asking for too much.
func byByte(t testing.TB, b []byte, parse func([]byte) (*Info, int, error)) (*Info, int, error) {
	t.Helper()
	asked := 0
	for n := 0; ; n++ {
		info, size, err := parse(b[:n:n])
		switch {
		case err != nil:
			if info != nil || size != 0 {
				t.Fatalf("at %d: an error with info %v and size %d", n, info, size)
			}
			return info, size, err
		case info != nil:
			if size > n || size < asked {
				t.Fatalf("at %d: size is %d, after %d were asked for", n, size, asked)
			}
			return info, size, err
		case size <= n || size > MaxBytes:
			t.Fatalf("at %d: asks for %d", n, size)
		case size < asked:
			t.Fatalf("at %d: asks for %d, after it asked for %d", n, size, asked)
		}
		if asked = size; n == len(b) {
			return nil, size, nil
		}
	}
}

func TestFragments(t *testing.T) {
	msg := chrome("www.example.com", 32).message()
	want := parse(t, records(msg, maxRecord))
	for _, n := range []int{1, 2, 3, 4, 5, 7, 100, len(msg) - 1, len(msg)} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b := records(msg, n)
			info, size, err := byByte(t, b, Parse)
			if err != nil || size != len(b) {
				t.Fatalf("size %d, error %v; want %d", size, err, len(b))
			}
			if diff := cmp.Diff(want, info, public); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestMessageBehind holds that what comes behind the hello in its record plays
// no part.
func TestMessageBehind(t *testing.T) {
	msg := parts{}.message()
	b := records(append(slices.Clone(msg), "\x14\x00\x00\x20"...), 9)
	info, size, err := Parse(b)
	want := len(records(msg, 9))
	if info == nil || size != want || err != nil {
		t.Errorf("got %v, size %d, error %v; want size %d", info, size, err, want)
	}
}

func TestRefusals(t *testing.T) {
	good := parts{}.record()
	with := func(e ...extension) []byte { return parts{extensions: e}.record() }
	// edited returns a good hello with bytes of it overwritten.
	edited := func(at int, s string) []byte {
		b := slices.Clone(good)
		copy(b[at:], s)
		return b
	}
	of := func(n int) []byte { // a hello whose message has n bytes
		p := parts{extensions: []extension{{kind: 21}}}
		p.extensions[0].data = strings.Repeat("\x00", n-len(p.message()))
		return p.message()
	}
	psk := extension{extPreSharedKey, "\x00\x01i\x00\x01b"}
	tests := []struct {
		name string
		b    []byte
		want error  // is it
		text string // is part of it
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), ErrNotTLS, ""},
		{"PROXY", []byte("PROXY TCP4"), ErrNotTLS, ""},
		{"SSLv2", []byte("\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"), ErrNotTLS, ""},
		{"a zero", []byte{0}, ErrNotTLS, ""},
		{"alert first", []byte("\x15\x03\x01\x00\x02\x02\x00"), ErrMalformed, "no handshake"},
		{"data first", []byte("\x17\x03\x01\x00\x02\x02\x00"), ErrMalformed, "no handshake"},
		{"heartbeat first", []byte("\x18\x03\x01\x00\x02\x02\x00"), ErrMalformed, "no handshake"},
		{"record of version 2", edited(1, "\x02"), ErrMalformed, "no version"},
		{"empty record", []byte("\x16\x03\x01\x00\x00"), ErrMalformed, "record is empty"},
		{"empty record behind", []byte("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00"), ErrMalformed, "record is empty"},
		{"great record", []byte("\x16\x03\x01\x40\x01"), ErrMalformed, "16 KiB"},
		{"alert within", []byte("\x16\x03\x01\x00\x01\x01\x15\x03\x01\x00\x02\x02\x00"), ErrMalformed, "interrupted"},
		{"another message", edited(5, "\x02"), ErrMalformed, "no ClientHello"},
		{"empty message", []byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), ErrMalformed, "cut off"},
		{"long message", []byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), ErrTooLong, ""},
		{"one byte too long", records(of(MaxBytes-recordHead+1), maxRecord), ErrTooLong, ""},
		{"too many records", records(of(2732), 1), ErrTooLong, ""},
		{"records too short for a great hello", records(of(15000), 10), ErrTooLong, ""},

		{"version", parts{version: 0x0204}.record(), ErrMalformed, "no version"},
		{"session id", parts{sessionID: strings.Repeat("s", 33)}.record(), ErrMalformed, "session id"},
		{"no cipher suites", parts{ciphers: []uint16{}}.record(), ErrMalformed, "cipher suites"},
		{"half a cipher suite", edited(9+2+32+1, "\x00\x01"), ErrMalformed, "cipher suites"},
		{"compression", parts{compression: "\x01"}.record(), ErrMalformed, "compression"},
		{"no compression", edited(9+2+32+1+2+2, "\x00"), ErrMalformed, "compression"},
		{"cut in the random", []byte("\x16\x03\x01\x00\x07\x01\x00\x00\x03\x03\x03r"), ErrMalformed, "cut off"},
		{"half a length of the extensions", parts{bare: true, tail: "\x00"}.record(), ErrMalformed, "cut off"},
		{"more behind the extensions", parts{tail: "x"}.record(), ErrMalformed, "follows"},
		{"extension cut", parts{bare: true, tail: "\x00\x03\x00\x2b\x00"}.record(), ErrMalformed, "cut off"},
		{"extension too long", parts{bare: true, tail: "\x00\x05\x00\x2b\x00\x02x"}.record(), ErrMalformed, "cut off"},

		{"an extension twice", with(empty(5, 23, 5)...), ErrMalformed, "twice"},
		{"a high extension twice", with(empty(0xff01, 23, 0xff01)...), ErrMalformed, "twice"},
		{"keys not last", with(psk, extension{kind: 5}), ErrMalformed, "not the last"},
		{"keys without binders", with(extension{extPreSharedKey, "\x00\x01i\x00\x00"}), ErrMalformed, "list"},
		{"keys without identities", with(extension{extPreSharedKey, "\x00\x00\x00\x01b"}), ErrMalformed, "list"},
		{"early data with data", with(extension{extEarlyData, "x"}), ErrMalformed, "list"},
		{"no protocols", with(alpn()), ErrMalformed, "list"},
		{"empty protocol", with(alpn("h2", "")), ErrMalformed, "list"},
		{"protocol cut", with(extension{extALPN, "\x00\x03\x03h2"}), ErrMalformed, "list"},
		{"more behind the protocols", with(extension{extALPN, "\x00\x03\x02h2x"}), ErrMalformed, "list"},
		{"no versions", with(versions()), ErrMalformed, "list"},
		{"half a version", with(extension{extSupportedVersions, "\x03\x03\x04\x03"}), ErrMalformed, "list"},
		{"no groups", with(groups()), ErrMalformed, "list"},
		{"more behind the groups", with(extension{extSupportedGroups, "\x00\x02\x00\x1dx"}), ErrMalformed, "list"},
		{"no algorithms", with(signatures()), ErrMalformed, "list"},
		{"algorithms cut", with(extension{extSignatureAlgorithms, "\x00\x04\x04\x03"}), ErrMalformed, "list"},
		{"ECH without a type", with(extension{kind: extECH}), ErrMalformed, "hidden"},
		{"ECH of an unknown type", with(extension{extECH, "\x02"}), ErrMalformed, "hidden"},
		{"inner ECH with more", with(extension{extECH, "\x01x"}), ErrMalformed, "hidden"},
		{"ECH without payload", with(extension{extECH, "\x00\x00\x01\x00\x01\x07\x00\x00\x00\x00"}), ErrMalformed, "hidden"},

		{"server name without content", with(extension{kind: extServerName}), ErrMalformed, "server names"},
		{"no server name", with(extension{extServerName, "\x00\x00"}), ErrMalformed, "server names"},
		{"server name cut", with(extension{extServerName, "\x00\x04\x00\x00\x02a"}), ErrMalformed, "server names"},
		{"more behind the server names", with(extension{extServerName, "\x00\x04\x00\x00\x01ax"}), ErrMalformed, "server names"},
		{"two server names", with(extension{extServerName, "\x00\x08\x00\x00\x01a\x00\x00\x01a"}), ErrMalformed, "two server names"},
		{"empty server name", with(sni("")), ErrServerName, ""},
		{"address", with(sni("192.0.2.1")), ErrServerName, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := byByte(t, tt.b, Parse)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			for n := range 3 {
				if _, _, again := Parse(append(slices.Clone(tt.b), strings.Repeat("\x16\x03", n)...)); again != err {
					t.Errorf("got %v, and with more bytes %v", err, again)
				}
			}
		})
	}
}

// TestLongest holds that the bound is the one that is told.
func TestLongest(t *testing.T) {
	p := parts{extensions: []extension{{kind: 21}}}
	p.extensions[0].data = strings.Repeat("\x00", MaxBytes-len(p.record()))
	if info, size, err := Parse(p.record()); info == nil || size != MaxBytes || err != nil {
		t.Errorf("got %v, size %d, error %v", info, size, err)
	}
	p.extensions = append(p.extensions, quicExtensions()...)
	p.extensions[0].data = ""
	p.extensions[0].data = strings.Repeat("\x00", MaxBytes-len(p.message()))
	if info, size, err := ParseQUIC(p.message()); info == nil || size != MaxBytes || err != nil {
		t.Errorf("by QUIC: got %v, size %d, error %v", info, size, err)
	}
}

// TestManyExtensions holds that types are told apart and doubles found however
// many there are.
func TestManyExtensions(t *testing.T) {
	for _, n := range []int{1, 31, 32, 33, 64, 65, 1000} {
		var kinds []uint16
		for i := range n {
			kinds = append(kinds, uint16(0x8000+i*8))
		}
		info := parse(t, parts{extensions: empty(kinds...)}.record())
		if diff := cmp.Diff(kinds, slices.Collect(info.Extensions.All())); diff != "" {
			t.Errorf("%d: -want +got:\n%s", n, diff)
		}
		for _, twice := range []int{0, n / 2, n - 1} {
			_, _, err := Parse(parts{extensions: empty(append(kinds, kinds[twice])...)}.record())
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "twice") {
				t.Errorf("%d with number %d twice: got %v", n, twice, err)
			}
		}
	}
}

func quicExtensions() []extension {
	return []extension{versions(0x0304), {kind: extTransportParameters}}
}

func TestParseQUIC(t *testing.T) {
	good := quicExtensions()
	tests := []struct {
		name  string
		parts parts
		want  string // part of the error; "" for none
	}{
		{"good", parts{extensions: append(good, sni("a.example"), alpn("h3"))}, ""},
		{"without TLS 1.3", parts{extensions: append(empty(extTransportParameters), versions(0x0303))}, "TLS 1.3"},
		{"without versions", parts{extensions: empty(extTransportParameters)}, "TLS 1.3"},
		{"without transport parameters", parts{extensions: good[:1]}, "transport parameters"},
		{"with a session id", parts{sessionID: "s", extensions: good}, "session id"},
		{"malformed", parts{extensions: append(good, alpn())}, "list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.parts.message()
			info, size, err := byByte(t, append(b, "more"...), ParseQUIC)
			if tt.want != "" {
				if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || size != len(b) || !info.QUIC || info.ServerName != "a.example" || !slices.Equal(info.ALPN, []string{"h3"}) {
				t.Errorf("got %+v, size %d of %d, error %v", info, size, len(b), err)
			}
		})
	}
	if _, _, err := ParseQUIC([]byte{2}); !errors.Is(err, ErrMalformed) {
		t.Errorf("another message: got %v", err)
	}
	if _, _, err := ParseQUIC([]byte{1, 0, 0x40, 0}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a long one: got %v", err)
	}
}

func TestServerNames(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	longest := label63 + "." + label63 + "." + label63 + "." + label63[:61]
	tests := []struct {
		name string
		want bool
	}{
		{"example.com", true},
		{"EXAMPLE.Com", true},
		{"localhost", true},
		{"a", true},
		{"xn--bcher-kva.example", true},
		{"_dmarc.under_score.example", true},
		{"1.2.3.4.example", true},
		{"3com.com", true},
		{"a--b.example", true},
		{label63 + ".example", true},
		{longest, true},
		{longest + "a", false},
		{label63 + "a.example", false},
		{"", false},
		{".", false},
		{"example.com.", false},
		{".example.com", false},
		{"example..com", false},
		{"-a.example", false},
		{"a-.example", false},
		{"a.example-", false},
		{"*.example.com", false},
		{"exa mple.com", false},
		{"example.com:443", false},
		{"example.com\x00", false},
		{"bücher.example", false},
		{"a@b.example", false},
		{"192.0.2.1", false},
		{"127.1", false},
		{"2130706433", false},
		{"::1", false},
		{"[::1]", false},
		{"2001:db8::1", false},
	}
	for _, tt := range tests {
		info, _, err := Parse(parts{extensions: []extension{sni(tt.name)}}.record())
		switch {
		case !tt.want:
			if !errors.Is(err, ErrServerName) {
				t.Errorf("%q: got %v, want %v", tt.name, err, ErrServerName)
			}
		case err != nil || info.ServerName != strings.ToLower(tt.name):
			t.Errorf("%q: got %v, error %v", tt.name, info, err)
		}
	}
}

func TestCodes(t *testing.T) {
	c := Codes("\x13\x01\x00\xff\x0a\x0a")
	if c.Len() != 3 || c.At(1) != 0xff || !c.Has(0x0a0a) || c.Has(0x0113) || c.Has(0x0100) {
		t.Errorf("got %d, %#x, %v, %v, %v", c.Len(), c.At(1), c.Has(0x0a0a), c.Has(0x0113), c.Has(0x0100))
	}
	for v := range c.All() {
		if v != 0x1301 {
			t.Errorf("the first is %#x", v)
		}
		break
	}
}

// TestRebuild holds that the tests' own writer of hellos loses nothing.
func TestRebuild(t *testing.T) {
	msg := chrome("www.example.com", 32).message()
	info := parse(t, records(msg, maxRecord))
	again := parse(t, records(rebuild(info), maxRecord))
	if diff := cmp.Diff(info, again, public); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}
	if bytes.Equal(rebuild(info), msg) {
		t.Error("the hello's keys are known to Info")
	}
}
