package syntax

import (
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestAllocs holds that reading and writing cost no allocation once the storage
// for fields has grown, refusals included.
func TestAllocs(t *testing.T) {
	var (
		r    l7.Request
		resp l7.Response
		f    Framing
		d    ChunkDecoder
	)
	head, chunked := []byte(browserHead), []byte("5;a=\"b\"\r\nhello\r\n0\r\n\r\n")
	broken, ipv6 := withField("X: \x00"), atHost("[2001:db8::1]:8443")
	out := make([]byte, 0, 256)
	tests := []struct {
		name string
		run  func() error
	}{
		{"find", func() error { _, _, err := FindRequestHead(head, 0, &wideLimits); return err }},
		{"find incomplete", func() error { _, _, err := FindRequestHead(head[:300], 0, &wideLimits); return err }},
		{"request", func() error { return ParseRequest(browserHead, &wideLimits, &r) }},
		{"request to an address", func() error { return ParseRequest(ipv6, &wideLimits, &r) }},
		{"answer", func() error { return ParseResponse(answerHead, "GET", &wideLimits, &resp, &f) }},
		{"chunks", func() error {
			d.Reset(l7.SideClient, &wideLimits)
			for b := chunked; !d.Done(); {
				_, n, err := d.Next(b)
				if err != nil {
					return err
				}
				b = b[n:]
			}
			return nil
		}},
		{"append", func() error {
			out = AppendStatusLine(out[:0], 200)
			out = AppendField(out, "Server", "a")
			out = AppendContentLength(out, 612)
			out = AppendChunkSize(out, 612)
			return nil
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.run(); err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(100, func() {
				if err := tt.run(); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%v allocations, want none", n)
			}
		})
	}
	t.Run("refusal", func(t *testing.T) {
		if n := testing.AllocsPerRun(100, func() {
			if ParseRequest(broken, &wideLimits, &r) == nil {
				t.Fatal("the broken head gets in")
			}
		}); n != 0 {
			t.Errorf("%v allocations, want none", n)
		}
	})
}
