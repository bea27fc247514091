package initial

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// sample is what the appendices A of RFC 9001 and RFC 9369 show of a client's
// first packet. The whole packet is told by its hash.
type sample struct {
	name                string
	version             uint32
	key, iv, protection string
	start               string // of the protected packet
	sum                 string // SHA-256 of the protected packet
}

var samples = []sample{
	{
		name: "RFC 9001", version: Version1,
		key: "1f369613dd76d5467730efcbe3b1a22d", iv: "fa044b2f42a3fd3b46fb255c", protection: "9f50449e04a0e810283a1e9933adedd2",
		start: "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
		sum:   "73fa0210cb4a5a17dc10b9dc98e5cc359ba1c20fe7c0e93a9e1dcb473c37e097",
	},
	{
		name: "RFC 9369", version: Version2,
		key: "8b1a0bc121284290a29e0971b5cd045d", iv: "91f73e2351d8fa91660e909f", protection: "45b95e15235d6f45a6b19cbcb0294ba9",
		start: "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
		sum:   "b0b766fe7e762577072d3365cc4f9635809210cba301a67f8457f5e6fdac5c68",
	},
}

// sampleFrame is the CRYPTO frame of both packets.
const sampleFrame = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868" +
	"04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578" +
	"616d706c652e636f6dff01000100000a00080006001d00170018001000070005" +
	"04616c706e000500050100000000003300260024001d00209370b2c9caa47fba" +
	"baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400" +
	"0d0010000e0403050306030203080408050806002d00020101001c0002400100" +
	"3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000" +
	"75300901100f088394c8f03e51570806048000ffff"

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// packet returns the sample's packet, which is checked against the RFC.
func (s sample) packet(t testing.TB) []byte {
	t.Helper()
	b := packet{version: s.version, dcid: testID, number: 2, frames: unhex(t, sampleFrame)}.seal(t)
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != s.sum || !strings.HasPrefix(hex.EncodeToString(b), s.start) {
		t.Fatalf("the packet is not that of the RFC: %x", b)
	}
	return b
}

func TestSamples(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			got, err := derive(s.version, []byte(testID))
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range []struct {
				name, want string
				got        []byte
			}{{"key", s.key, got.key[:]}, {"iv", s.iv, got.iv[:]}, {"hp", s.protection, got.protection[:]}} {
				if hex.EncodeToString(part.got) != part.want {
					t.Errorf("%s is %x, want %s", part.name, part.got, part.want)
				}
			}
			b := s.packet(t)
			h, err := ParseHeader(b, 0)
			if err != nil || h.Type != TypeInitial || h.Version != s.version || string(h.DCID) != testID || h.Size != MinDatagram {
				t.Fatalf("header %+v, error %v", h, err)
			}
			a, err := NewAssembler(h.Version, h.DCID)
			if err != nil {
				t.Fatal(err)
			}
			info, err := a.Add(b)
			if err != nil || info == nil {
				t.Fatalf("got %v, error %v", info, err)
			}
			if info.ServerName != "example.com" || !slices.Equal(info.ALPN, []string{"alpn"}) || !info.QUIC || info.Version != 0x0304 {
				t.Errorf("got %+v", info)
			}
			if got := info.JA4(); !strings.HasPrefix(got, "q13d0211an_") {
				t.Errorf("JA4 is %s", got)
			}
		})
	}
}

// TestDerive holds our HKDF to that of the standard library.
func TestDerive(t *testing.T) {
	for n := range maxID + 1 {
		id := []byte(strings.Repeat("\xc5", n))
		got, err := derive(Version2, id)
		if err != nil {
			t.Fatal(err)
		}
		if want := standard(t, &version2, id); got != want {
			t.Errorf("id of %d bytes: got %x, want %x", n, got, want)
		}
	}
}

// standard derives by crypto/hkdf.
func standard(t testing.TB, d *derivation, id []byte) (s secrets) {
	t.Helper()
	common, err := hkdf.Extract(sha256.New, id, []byte(d.salt))
	if err != nil {
		t.Fatal(err)
	}
	expand := func(secret []byte, label string, n int) []byte {
		out, err := hkdf.Expand(sha256.New, secret, label, n)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	client := expand(common, labelClient, sha256.Size)
	copy(s.key[:], expand(client, d.key, len(s.key)))
	copy(s.iv[:], expand(client, d.iv, len(s.iv)))
	copy(s.protection[:], expand(client, d.protection, len(s.protection)))
	return s
}

func BenchmarkDerive(b *testing.B) {
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := derive(Version1, []byte(testID)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crypto hkdf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			standard(b, &version1, []byte(testID))
		}
	})
}

func TestNewAssembler(t *testing.T) {
	for _, version := range []uint32{0, 2, 0xff00001d, 0x0a1a2a3a} {
		if _, err := NewAssembler(version, []byte(testID)); !errors.Is(err, ErrVersion) {
			t.Errorf("version %#x: got %v", version, err)
		}
	}
	if _, err := NewAssembler(Version1, make([]byte, 21)); !errors.Is(err, ErrMalformed) {
		t.Errorf("an id of 21 bytes: got %v", err)
	}
	if _, err := NewAssembler(Version1, nil); err != nil {
		t.Errorf("no id, as a Retry packet may have it: %v", err)
	}
}

func TestFullNumber(t *testing.T) {
	tests := []struct {
		name      string
		truncated int64
		n         int
		largest   int64
		want      int64
	}{
		{"RFC 9000 appendix A.3", 0x9b32, 2, 0xa82f30ea, 0xa82f9b32},
		{"the first", 0, 1, -1, 0},
		{"the first of a client that does not begin at 0", 200, 1, -1, 200},
		{"the next", 1, 1, 0, 1},
		{"an old one", 0xfe, 1, 0x100, 0xfe},
		{"over the border", 0x02, 1, 0xfe, 0x102},
		{"not below 0", 0xff, 1, 2, 0xff},
		{"four bytes", 0xffffffff, 4, -1, 0xffffffff},
	}
	for _, tt := range tests {
		if got := fullNumber(tt.truncated, tt.n, tt.largest); got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, got, tt.want)
		}
	}
}
