package syntax

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

func TestFindRequestHead(t *testing.T) {
	tests := []struct {
		name       string
		in         string
		start, end int
	}{
		{"nothing", "", 0, 0},
		{"empty line", "\r\n", 2, 0},
		{"half an empty line", "\r", 0, 0},
		{"one and a half empty lines", "\r\n\r", 2, 0},
		{"incomplete line", "GET / HT", 0, 0},
		{"incomplete line end", "GET / HTTP/1.1\r", 0, 0},
		{"incomplete fields", "GET / HTTP/1.1\r\nA: b\r\n", 0, 0},
		{"incomplete end", "GET / HTTP/1.1\r\nA: b\r\n\r", 0, 0},
		{"complete", "GET / HTTP/1.1\r\nA: b\r\n\r\n", 0, 24},
		{"complete without fields", "GET / HTTP/1.1\r\n\r\n", 0, 18},
		{"complete with more", "GET / HTTP/1.1\r\n\r\n\n\x00GET", 0, 18},
		{"behind empty lines", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", 4, 22},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start, end, err := FindRequestHead([]byte(tt.in), 0, &wideLimits)
			if start != tt.start || end != tt.end || err != nil {
				t.Errorf("got %d, %d, %v; want %d, %d", start, end, err, tt.start, tt.end)
			}
		})
	}
}

// TestHopelessHeads holds that what cannot become a head is refused before its
// end arrives.
func TestHopelessHeads(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want fault
	}{
		{"bare LF", "GET / HTTP/1.1\n", faultBareLF},
		{"two bare LF", "GET / HTTP/1.1\r\nHost: a\n\n", faultBareLF},
		{"bare CR", "GET / HTTP/1.1\rH", faultBareCR},
		{"leading LF", "\n", faultBareLF},
		{"leading bare CR", "\rG", faultBareCR},
		{"NUL", "GET /\x00", faultControl},
		{"DEL", "GET / HTTP/1.1\r\nHost: \x7f", faultControl},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", faultControl},
		{"empty lines", strings.Repeat("\r\n", 5), faultLeadingLines},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, f := readRequest(t, []string{tt.in}, &wideLimits); f != tt.want {
				t.Fatalf("got %q, want %q", f, tt.want)
			}
			splits(tt.in, func(pieces []string) {
				if _, _, f := readRequest(t, pieces, &wideLimits); f != tt.want {
					t.Fatalf("split as %q: got %q, want %q", pieces, f, tt.want)
				}
			})
		})
	}
}

func TestHeadLimits(t *testing.T) {
	lim := Limits{HeadBytes: 200, TargetBytes: 20, Fields: 3, ChunkExtensionBytes: 1, TrailerBytes: 1}
	target := func(n int) string { return "/" + strings.Repeat("a", n-1) }
	sized := func(n int) string {
		const head = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"
		return strings.Replace(head, "X: ", "X: "+strings.Repeat("x", n-len(head)), 1)
	}
	tests := []struct {
		name   string
		in     string
		want   fault
		status int
	}{
		{"greatest target", atTarget(target(20)), faultNone, 0},
		{"target over", atTarget(target(21)), faultTargetTooLong, 414},
		{"target over in an endless line", "GET " + target(200), faultTargetTooLong, 414},
		{"target over in an endless head", "GET " + target(100) + " HTTP/1.1\r\nX: " + strings.Repeat("x", 200), faultTargetTooLong, 414},
		{"target over and wrong", atTarget(target(21) + "#"), faultTargetTooLong, 414},
		{"target over and wrong early", atTarget("/%zz" + target(20)), faultTargetTooLong, 414},
		{"absolute target over", atTarget("http://a" + target(13)), faultTargetTooLong, 414},
		{"greatest head", sized(200), faultNone, 0},
		{"head over", sized(201), faultHeadTooLarge, 431},
		{"head over, never ending", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 300), faultHeadTooLarge, 431},
		{"head over in short lines", "GET / HTTP/1.1\r\n" + strings.Repeat("X: 1\r\n", 100), faultHeadTooLarge, 431},
		{"most fields", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n", faultNone, 0},
		{"fields over", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\nX: 3\r\n\r\n", faultTooManyFields, 431},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check := func(pieces []string) {
				t.Helper()
				r, _, f := readRequest(t, pieces, &lim)
				if f != tt.want || (r == nil) != (f != faultNone) {
					t.Fatalf("in %d pieces: got %q, want %q", len(pieces), f, tt.want)
				}
				if f != faultNone && requestErrors[f].Status != tt.status {
					t.Fatalf("status is %d, want %d", requestErrors[f].Status, tt.status)
				}
			}
			check([]string{tt.in})
			splits(tt.in, check)
		})
	}
}

// TestHeadLimitsAlone holds that the parsers keep the bound on the head by
// themselves.
func TestHeadLimitsAlone(t *testing.T) {
	lim := wideLimits
	lim.HeadBytes = len(smallHead) - 1
	if err := ParseRequest(smallHead, &lim, new(l7.Request)); err == nil || faultOf(t, err, l7.SideClient) != faultHeadTooLarge {
		t.Errorf("request: got %v", err)
	}
	lim.HeadBytes = len(answerHead) - 1
	err := ParseResponse(answerHead, "GET", &lim, new(l7.Response), new(Framing))
	if err == nil || faultOf(t, err, l7.SideUpstream) != faultHeadTooLarge {
		t.Errorf("answer: got %v", err)
	}
}

// TestHeadEnd holds that no string at all makes the parsers run over its end.
func TestHeadEnd(t *testing.T) {
	for _, head := range []string{smallHead, browserHead, answerHead, atTarget("http://a:80/%41?b"), "\r\n\r\n"} {
		for i := range len(head) {
			for _, tail := range []string{"", "\n", "\r\n", "\n\r\n", "\r\n\r\n"} {
				cut := head[:i] + tail
				var r l7.Request
				if err := ParseRequest(cut, &wideLimits, &r); err == nil && !strings.HasSuffix(cut, "\r\n\r\n") {
					t.Fatalf("request %q gets in", cut)
				}
				var (
					resp l7.Response
					f    Framing
				)
				if err := ParseResponse(cut, "GET", &wideLimits, &resp, &f); err == nil && !strings.HasSuffix(cut, "\r\n\r\n") {
					t.Fatalf("answer %q gets in", cut)
				}
			}
		}
	}
}
