package hello

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// check holds what is true of every input: whole and byte by byte it is the
// same, errors are those that are named, and a hello that says the same parses
// the same.
func check(t *testing.T, b []byte, parse func([]byte) (*Info, int, error), carry func([]byte) []byte) *Info {
	info, size, err := parse(b)
	if len(b) <= 3000 { // trying all beginnings takes the square
		again, size2, err2 := byByte(t, b, parse)
		if size != size2 || err != err2 || (info == nil) != (again == nil) {
			t.Fatalf("whole: %v, %d, %v; byte by byte: %v, %d, %v", info, size, err, again, size2, err2)
		}
	}
	if err != nil {
		if !errors.Is(err, ErrNotTLS) && !errors.Is(err, ErrTooLong) && !errors.Is(err, ErrServerName) && !errors.Is(err, ErrMalformed) {
			t.Fatalf("an unknown error: %v", err)
		}
		return nil
	}
	if info == nil {
		return nil
	}
	if n := len(info.JA4()); n != ja4Bytes {
		t.Errorf("JA4 %q has %d bytes", info.JA4(), n)
	}
	again, _, err := parse(carry(rebuild(info)))
	if err != nil {
		t.Fatalf("the same in other words: %v", err)
	}
	if diff := cmp.Diff(info, again, public, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the same in other words: -first +second:\n%s", diff)
	}
	return info
}

func FuzzParse(f *testing.F) {
	f.Add(chrome("www.example.com", 32).record())
	f.Add(records(chrome("www.example.com", 32).message(), 3))
	f.Add(parts{bare: true}.record())
	f.Fuzz(func(t *testing.T, b []byte) {
		info := check(t, b, Parse, func(msg []byte) []byte { return records(msg, maxRecord) })
		if info == nil {
			return
		}
		if hello := standard(b); hello != nil {
			agree(t, info, hello)
		}
	})
}

func FuzzParseQUIC(f *testing.F) {
	f.Add(parts{extensions: append(quicExtensions(), sni("a.example"), alpn("h3"))}.message())
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, b, ParseQUIC, func(msg []byte) []byte { return msg })
	})
}
