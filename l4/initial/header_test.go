package initial

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const v1, v2 = "\x00\x00\x00\x01", "\x6b\x33\x43\xcf"

func TestParseHeader(t *testing.T) {
	payload := strings.Repeat("p", 20)
	ids := "\x03dst\x02sr"
	dst, src := []byte("dst"), []byte("sr")
	retry := "\xff\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5token\x04\xa2\x65\xba\x2e\xff\x4d\x82\x90\x58\xfb\x3f\x0f\x24\x96\xba"
	tests := []struct {
		name  string
		in    string
		short int
		want  Header
	}{
		{"short", "\x40idrest", 2, Header{Fixed: true, DCID: []byte("id"), Size: 7}},
		{"short, no id", "\x40", 0, Header{Fixed: true, Size: 1}},
		{"short, greased", "\x00idrest", 2, Header{DCID: []byte("id"), Size: 7}},
		{"v1 Initial", "\xc0" + v1 + ids + "\x00\x14" + payload, 0, Header{Type: TypeInitial, Fixed: true, Version: Version1, DCID: dst, SCID: src, Size: 34, number: 14}},
		{"v1 Initial, token, more behind", "\xc3" + v1 + ids + "\x05token\x40\x14" + payload + "more", 0, Header{
			Type: TypeInitial, Fixed: true, Version: Version1, DCID: dst, SCID: src, Token: []byte("token"), Size: 40, number: 20,
		}},
		{"v1 0-RTT", "\xd0" + v1 + ids + "\x14" + payload, 0, Header{Type: TypeZeroRTT, Fixed: true, Version: Version1, DCID: dst, SCID: src, Size: 33, number: 13}},
		{"v1 Handshake, greased", "\xa0" + v1 + ids + "\x14" + payload, 0, Header{Type: TypeHandshake, Version: Version1, DCID: dst, SCID: src, Size: 33, number: 13}},
		{"v1 Retry of RFC 9001", retry, 0, Header{Type: TypeRetry, Fixed: true, Version: Version1, SCID: []byte("\xf0\x67\xa5\x50\x2a\x42\x62\xb5"), Token: []byte("token"), Size: len(retry)}},
		{"v2 Retry", "\xc0" + v2 + ids + "t0123456789abcdef", 0, Header{Type: TypeRetry, Fixed: true, Version: Version2, DCID: dst, SCID: src, Token: []byte("t"), Size: 29}},
		{"v2 Initial", "\xd0" + v2 + ids + "\x00\x14" + payload, 0, Header{Type: TypeInitial, Fixed: true, Version: Version2, DCID: dst, SCID: src, Size: 34, number: 14}},
		{"v2 0-RTT", "\xe0" + v2 + ids + "\x14" + payload, 0, Header{Type: TypeZeroRTT, Fixed: true, Version: Version2, DCID: dst, SCID: src, Size: 33, number: 13}},
		{"v2 Handshake", "\xf0" + v2 + ids + "\x14" + payload, 0, Header{Type: TypeHandshake, Fixed: true, Version: Version2, DCID: dst, SCID: src, Size: 33, number: 13}},
		{"version negotiation", "\x80\x00\x00\x00\x00" + ids + v1 + v2, 0, Header{Type: TypeVersionNegotiation, DCID: dst, SCID: src, Size: 20}},
		{"unknown version", "\xff\x0a\x0a\x0a\x0a" + ids + "anything", 0, Header{Type: TypeUnknown, Fixed: true, Version: 0x0a0a0a0a, DCID: dst, SCID: src, Size: 20}},
		{"unknown version, long id", "\x80\xff\x00\x00\x1d\xff" + strings.Repeat("d", 255) + "\x00", 0, Header{
			Type: TypeUnknown, Version: 0xff00001d, DCID: []byte(strings.Repeat("d", 255)), Size: 262,
		}},
		{"longest ids", "\xd0" + v1 + "\x14" + strings.Repeat("d", 20) + "\x14" + strings.Repeat("s", 20) + "\x14" + payload, 0, Header{
			Type: TypeZeroRTT, Fixed: true, Version: Version1, DCID: []byte(strings.Repeat("d", 20)), SCID: []byte(strings.Repeat("s", 20)), Size: 68, number: 48,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseHeader([]byte(tt.in), tt.short)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(Header{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseHeaderRefusals(t *testing.T) {
	ids := "\x03dst\x02sr"
	tests := []struct {
		name  string
		in    string
		short int
		want  string
	}{
		{"nothing", "", 0, "cut off"},
		{"short id cut", "\x40id", 3, "cut off"},
		{"short id of impossible length", "\x40" + strings.Repeat("d", 30), 21, "cut off"},
		{"short id of negative length", "\x40id", -1, "cut off"},
		{"version cut", "\xc0\x00\x00\x00", 0, "cut off"},
		{"no ids", "\xc0" + v1, 0, "cut off"},
		{"DCID cut", "\xc0" + v1 + "\x03ds", 0, "cut off"},
		{"SCID cut", "\xc0" + v1 + "\x03dst\x01", 0, "cut off"},
		{"DCID of 21", "\xc0" + v1 + "\x15" + strings.Repeat("d", 21) + "\x00\x00\x14" + strings.Repeat("p", 20), 0, "too long"},
		{"SCID of 21", "\xc0" + v1 + "\x00\x15" + strings.Repeat("s", 21) + "\x00\x14" + strings.Repeat("p", 20), 0, "too long"},
		{"token cut", "\xc0" + v1 + ids + "\x05toke", 0, "cut off"},
		{"token's length cut", "\xc0" + v1 + ids + "\x40", 0, "cut off"},
		{"token of 2^62-1", "\xc0" + v1 + ids + "\xff\xff\xff\xff\xff\xff\xff\xff", 0, "cut off"},
		{"no length", "\xc0" + v1 + ids + "\x00", 0, "cut off"},
		{"packet cut", "\xc0" + v1 + ids + "\x00\x15" + strings.Repeat("p", 20), 0, "cut off"},
		{"packet too short", "\xc0" + v1 + ids + "\x00\x13" + strings.Repeat("p", 20), 0, "too short"},
		{"Retry without token", "\xf0" + v1 + ids + "0123456789abcdef", 0, "no token"},
		{"no versions", "\x80\x00\x00\x00\x00" + ids, 0, "versions"},
		{"versions cut", "\x80\x00\x00\x00\x00" + ids + v1 + "\x00", 0, "versions"},
		{"unknown version, ids cut", "\x80\x0a\x0a\x0a\x0a\xff", 0, "cut off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseHeader([]byte(tt.in), tt.short)
			if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %+v, error %v; want %q", h, err, tt.want)
			}
			if diff := cmp.Diff(Header{}, h, cmp.AllowUnexported(Header{})); diff != "" {
				t.Errorf("it comes with a header: %s", diff)
			}
		})
	}
}

// TestCoalesced walks through a datagram of several packets (RFC 9000 section
// 12.2).
func TestCoalesced(t *testing.T) {
	ids, payload := "\x03dst\x02sr", strings.Repeat("p", 20)
	b := []byte("\xc0" + v1 + ids + "\x00\x14" + payload + "\xe0" + v1 + ids + "\x15" + payload + "q" + "\x40dst1-RTT")
	var types []Type
	for len(b) > 0 {
		h, err := ParseHeader(b, 3)
		if err != nil {
			t.Fatal(err)
		}
		if string(h.DCID) != "dst" {
			t.Errorf("id %q", h.DCID)
		}
		types = append(types, h.Type)
		b = b[h.Size:]
	}
	if !slices.Equal(types, []Type{TypeInitial, TypeHandshake, TypeShort}) {
		t.Errorf("got %v", types)
	}
}
