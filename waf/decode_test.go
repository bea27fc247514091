package waf

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// encode applies a content coding.
func encode(t testing.TB, coding string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "raw":
		w, _ = flate.NewWriter(&out, 6)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecode(t *testing.T) {
	text := []byte(strings.Repeat("a=1&b=<script>&", 20))
	for _, coding := range []string{"gzip", "x-gzip", "deflate", "br", "zstd"} {
		for _, field := range []string{coding, " " + strings.ToUpper(coding) + " ", "identity, " + coding} {
			out, whole, err := Decode(field, encode(t, coding, text), 1<<20)
			if err != nil || !whole || !bytes.Equal(out, text) {
				t.Errorf("%q: %q, %v, %v", field, out, whole, err)
			}
		}
		out, whole, err := Decode(coding, encode(t, coding, text), 10)
		if err != nil || whole || !bytes.Equal(out, text[:10]) {
			t.Errorf("%s beyond the limit: %q, %v, %v", coding, out, whole, err)
		}
		encoded := encode(t, coding, text)
		if _, _, err := Decode(coding, encoded[:len(encoded)/2], 1<<20); err == nil {
			t.Errorf("%s cut short: no error", coding)
		}
		bomb := encode(t, coding, make([]byte, 8<<20))
		out, whole, err = Decode(coding, bomb, 4<<20)
		if !errors.Is(err, ErrDecodedRatio) || whole || len(out) > max(ratioFloor, len(bomb)*decodedRatio) {
			t.Errorf("a bomb of %s: %d bytes, %v, %v", coding, len(out), whole, err)
		}
	}
	if out, _, err := Decode("deflate", encode(t, "raw", text), 1<<20); err != nil || !bytes.Equal(out, text) {
		t.Errorf("deflate without its frame: %q, %v", out, err)
	}
	if out, whole, err := Decode("gzip, br", encode(t, "br", encode(t, "gzip", text)), 1<<20); err != nil || !whole || !bytes.Equal(out, text) {
		t.Errorf("two codings: %q, %v", out, err)
	}
	for _, field := range []string{"compress", "gzip, gzip, gzip", "gzip;q=1", "*", "gzip br"} {
		if _, _, err := Decode(field, text, 1<<20); !errors.Is(err, ErrCoding) || CanDecode(field) {
			t.Errorf("%q: %v", field, err)
		}
	}
	if out, whole, err := Decode("", text, 5); err != nil || whole || len(out) != 5 {
		t.Errorf("without a coding: %q, %v, %v", out, whole, err)
	}
}

// TestDecodeHidden: bytes that no decoder gives out are told, for rules never see
// them.
func TestDecodeHidden(t *testing.T) {
	text, tail := []byte("a=1&b=2"), []byte("<script>")
	named := func(h gzip.Header) []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		w.Header = h
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, byte(len(tail)), 0, 0, 0}, tail...)
	zstandard, gz := encode(t, "zstd", text), encode(t, "gzip", text)
	for _, tt := range []struct {
		name, coding string
		b            []byte
	}{
		{"after gzip", "gzip", append(bytes.Clone(gz), "<script>alert(1)</script>"...)},
		{"after zlib", "deflate", append(encode(t, "deflate", text), tail...)},
		{"after deflate", "deflate", append(encode(t, "raw", text), tail...)},
		{"after br", "br", append(encode(t, "br", text), tail...)},
		{"name", "gzip", named(gzip.Header{Name: "x"})},
		{"comment of a later member", "gzip", append(bytes.Clone(gz), named(gzip.Header{Comment: "x"})...)},
		{"extra", "gzip", named(gzip.Header{Extra: tail})},
		{"zstd begins with it", "zstd", append(bytes.Clone(skippable), zstandard...)},
		{"zstd ends with it", "zstd", append(bytes.Clone(zstandard), skippable...)},
	} {
		if _, whole, err := Decode(tt.coding, tt.b, 1<<20); err == nil || whole || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, %v", tt.name, whole, err)
		}
	}
	if out, whole, err := Decode("gzip", append(bytes.Clone(gz), gz...), 1<<20); err != nil || !whole || len(out) != 2*len(text) {
		t.Errorf("two members: %q, %v, %v", out, whole, err)
	}
}

// TestDecodeCut: the beginning of encoded content ends too early, and that is the
// only error that it has.
func TestDecodeCut(t *testing.T) {
	text := []byte(strings.Repeat("a=1&b=<script>&", 20))
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		b := encode(t, coding, text)
		if _, _, err := Decode(coding, b[:len(b)-3], 1<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", coding, err)
		}
	}
}

// FuzzDecode holds decoding to its bounds, whatever it is given.
func FuzzDecode(f *testing.F) {
	for _, coding := range []string{"gzip", "deflate", "br", "zstd"} {
		f.Add(coding, encode(f, coding, []byte("hello, hello, hello")))
		f.Add(coding+", gzip", encode(f, "gzip", encode(f, coding, make([]byte, 100_000))))
	}
	f.Fuzz(func(t *testing.T, field string, b []byte) {
		const limit = 200_000
		out, whole, err := Decode(field, b, limit)
		if len(out) > limit || whole && err != nil || err == nil && !CanDecode(field) {
			t.Errorf("%d bytes, %v, %v", len(out), whole, err)
		}
	})
}
