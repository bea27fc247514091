package syntax

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/l7"
)

// decoded is what became of a chunked body.
type decoded struct {
	Data    string
	Trailer []string
	Rest    string // what follows the body
	Done    bool
	Fault   fault
}

// decode feeds the pieces to a decoder as an engine does.
func decode(t *testing.T, pieces []string, lim *Limits) decoded {
	t.Helper()
	var (
		d    ChunkDecoder
		data strings.Builder
	)
	d.Reset(l7.SideClient, lim)
	for i, piece := range pieces {
		b := []byte(piece)
		for len(b) > 0 && !d.Done() {
			content, n, err := d.Next(b)
			data.Write(content)
			if err != nil {
				f := faultOf(t, err, l7.SideClient)
				if _, n, again := d.Next([]byte("0\r\n\r\n")); again == nil || n != 0 || d.Done() {
					t.Fatalf("the decoder goes on behind %q", f)
				}
				return decoded{Data: data.String(), Fault: f}
			}
			if len(content) == 0 && n < len(b) && !d.Done() {
				t.Fatalf("Next(%q) takes only %d bytes and gives none", b, n)
			}
			b = b[n:]
		}
		if d.Done() {
			rest := string(b) + strings.Join(pieces[i+1:], "")
			if content, n, err := d.Next([]byte("5\r\n")); len(content) != 0 || n != 0 || err != nil {
				t.Fatalf("the decoder goes on behind the end: %q, %d, %v", content, n, err)
			}
			return decoded{Data: data.String(), Trailer: fieldsOf(d.Trailer()), Rest: rest, Done: true}
		}
	}
	return decoded{Data: data.String()}
}

var chunkLimits = Limits{HeadBytes: 1, TargetBytes: 1, Fields: 3, ChunkExtensionBytes: 20, TrailerBytes: 60}

type goodChunked struct {
	name    string
	body    string
	data    string
	trailer []string
}

func goodChunkeds() []goodChunked {
	return []goodChunked{
		{"empty", "0\r\n\r\n", "", nil},
		{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"several chunks", "1\r\na\r\n2\r\nbc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", "abc0123456789abcdef", nil},
		{"digits of both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", nil},
		{"leading zeros", "0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a", nil},
		{"data that looks like framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", nil},
		{"extension", "1;a\r\nx\r\n0;b\r\n\r\n", "x", nil},
		{"extension with token", "1;a=b!~\r\nx\r\n0\r\n\r\n", "x", nil},
		{"extension with string", "1;a=\"b;\\\"\\\\\t \x80\"\r\nx\r\n0\r\n\r\n", "x", nil},
		{"extension with empty string", "1;a=\"\"\r\nx\r\n0\r\n\r\n", "x", nil},
		{"extensions", "1;a;b=c;d=\"e\";f\r\nx\r\n0\r\n\r\n", "x", nil},
		{"longest extension", "1;" + strings.Repeat("a", 19) + "\r\nx\r\n0\r\n\r\n", "x", nil},
		{"most extensions", strings.Repeat("1;"+strings.Repeat("a", 19)+"\r\nx\r\n", 16) + "0\r\n\r\n", strings.Repeat("x", 16), nil},
		{"trailer", "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", "a", []string{"X-Sum: 1"}},
		{"trailers", "0\r\ngrpc-status:0\r\nGrpc-Message:\t a b \r\nContent-Digest: x\r\n\r\n", "", []string{"grpc-status: 0", "Grpc-Message: a b", "Content-Digest: x"}},
		{"longest trailer", "0\r\nX: " + strings.Repeat("x", 55) + "\r\n\r\n", "", []string{"X: " + strings.Repeat("x", 55)}},
	}
}

func TestChunkDecoder(t *testing.T) {
	for _, tt := range goodChunkeds() {
		t.Run(tt.name, func(t *testing.T) {
			check := func(pieces []string) {
				t.Helper()
				want := decoded{Data: tt.data, Trailer: tt.trailer, Rest: "\r\n5\r\n", Done: true}
				if diff := cmp.Diff(want, decode(t, pieces, &chunkLimits)); diff != "" {
					t.Fatalf("split as %q differs (-want +got):\n%s", pieces, diff)
				}
			}
			check([]string{tt.body + "\r\n5\r\n"})
			splits(tt.body+"\r\n5\r\n", check)
		})
	}
}

type badChunked struct {
	name string
	body string
	want fault
}

func badChunkeds() []badChunked {
	bad := []badChunked{
		// Sizes.
		{"no size", "\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size with plus", "+1\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size with minus", "-1\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size with 0x", "0x1\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size with underscore", "1_0\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size with g", "1g\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size behind a space", " 1\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size before a space", "1 \r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size before a tab", "1\t\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size before a NUL", "1\x00\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size before a no-break space", "1\xa0\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size in full-width digits", "\uff11\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size of 17 digits", "00000000000000001\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"size that wraps to 1", "10000000000000001\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"last size of 17 digits", "00000000000000000\r\n\r\n", faultChunkSize},
		{"size of 64 bits", "ffffffffffffffff\r\na", faultChunkTooLarge},
		{"size of 63 bits", "7fffffffffffffff\r\na", faultChunkTooLarge},
		{"size just over", "4000000000000001\r\na", faultChunkTooLarge},
		{"size just over with extension", "4000000000000001;a\r\na", faultChunkTooLarge},
		{"last size with space", "0 \r\n\r\n", faultChunkSize},
		{"last size negative", "-0\r\n\r\n", faultChunkSize},

		// Line ends.
		{"size behind bare LF", "1\na\r\n0\r\n\r\n", faultChunkLineEnd},
		{"size behind bare CR", "1\ra\r\n0\r\n\r\n", faultChunkLineEnd},
		{"size behind CR CR LF", "1\r\r\na\r\n0\r\n\r\n", faultChunkLineEnd},
		{"last size behind bare LF", "0\n\r\n", faultChunkLineEnd},
		{"data without end", "1\r\na0\r\n\r\n", faultChunkDataEnd},
		{"data behind bare LF", "1\r\na\n0\r\n\r\n", faultChunkDataEnd},
		{"data behind bare CR", "1\r\na\r0\r\n\r\n", faultChunkDataEnd},
		{"data behind LF CR", "1\r\na\n\r0\r\n\r\n", faultChunkDataEnd},
		{"data longer than its size", "1\r\nab\r\n0\r\n\r\n", faultChunkDataEnd},
		{"data shorter than its size", "3\r\na\r\n0\r\n\r\n", faultChunkDataEnd},
		{"end behind bare LF", "0\r\n\n", faultBareLF},
		{"end behind bare CR", "0\r\n\rG", faultBareCR},
		{"end behind CR CR LF", "0\r\n\r\r\n", faultBareCR},
		{"request behind the last size", "0\r\nGET / HTTP/1.1\r\n\r\n", faultSpaceBeforeColon},

		// Extensions.
		{"extension behind bare LF", "1;a\na\r\n0\r\n\r\n", faultChunkLineEnd},
		{"extension with bare LF in its value", "1;a=b\na\r\n0\r\n\r\n", faultChunkLineEnd},
		{"extension behind bare CR", "1;a\rb\r\na\r\n0\r\n\r\n", faultChunkLineEnd},
		{"extension string with LF", "1;a=\"\n\"\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension string with CRLF", "1;a=\"\r\n\"\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension string behind bare LF", "1;a=\"b\"\na\r\n0\r\n\r\n", faultChunkLineEnd},
		{"extension string with NUL", "1;a=\"\x00\"\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension string with escaped CR", "1;a=\"\\\r\n\"\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension string run on", "1;a=\"b\"c\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension string not closed", "1;a=\"b\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension empty", "1;\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension empty before another", "1;;a\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension empty behind another", "1;a;\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension without name", "1;=a\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension without value", "1;a=\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension with two values", "1;a=b=c\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension behind a space", "1; a\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension behind a space before the semicolon", "1 ;a\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"extension before a space", "1;a \r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension with space around =", "1;a = b\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension with comma", "1;a,b\r\na\r\n0\r\n\r\n", faultChunkExtension},
		{"extension without semicolon", "1=a\r\na\r\n0\r\n\r\n", faultChunkSize},
		{"extension too long", "1;" + strings.Repeat("a", 20) + "\r\na\r\n0\r\n\r\n", faultChunkExtensionTooLong},
		{"extension string too long", "1;a=\"" + strings.Repeat("b", 100), faultChunkExtensionTooLong},
		{"too many extensions in a line", "1" + strings.Repeat(";a", 11) + "\r\na\r\n0\r\n\r\n", faultChunkExtensionTooLong},
		{"too many extensions in a body", strings.Repeat("1;"+strings.Repeat("a", 19)+"\r\nx\r\n", 16) + "1;a\r\nx\r\n0\r\n\r\n", faultChunkExtensionTooLong},

		// Trailer sections.
		{"trailer behind bare LF", "0\r\nX: 1\n\r\n", faultBareLF},
		{"trailer behind bare CR", "0\r\nX: 1\rY: 2\r\n\r\n", faultBareCR},
		{"trailer behind LF at its end", "0\r\nX: 1\r\n\n", faultBareLF},
		{"trailer with NUL", "0\r\nX: \x00\r\n\r\n", faultControl},
		{"trailer with space before colon", "0\r\nX : 1\r\n\r\n", faultSpaceBeforeColon},
		{"trailer folded", "0\r\nX: 1\r\n 2\r\n\r\n", faultFold},
		{"trailer without name", "0\r\n: 1\r\n\r\n", faultFieldName},
		{"trailer without colon", "0\r\nX\r\n\r\n", faultFieldName},
		{"trailer too long", "0\r\nX: " + strings.Repeat("x", 56) + "\r\n\r\n", faultTrailerTooLarge},
		{"trailer endless", "0\r\nX: " + strings.Repeat("x", 1000), faultTrailerTooLarge},
		{"too many trailers", "0\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\n\r\n", faultTooManyFields},
		{"forbidden behind an allowed one", "0\r\nA: 1\r\nHost: b\r\n\r\n", faultTrailerForbidden},
	}
	for _, name := range forbiddenTrailers() {
		bad = append(bad, badChunked{"trailer " + name, "0\r\n" + name + ": 1\r\n\r\n", faultTrailerForbidden})
	}
	return bad
}

// forbiddenTrailers are names of every kind that TrailerAllowed refuses.
func forbiddenTrailers() []string {
	return []string{
		"Transfer-Encoding", "Content-Length", "content-length", "CONTENT-LENGTH", "Host", "Trailer", "TE",
		"Connection", "Keep-Alive", "Upgrade", "Proxy-Connection", "HTTP2-Settings", "Expect", "Max-Forwards",
		"Authorization", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Anything", "WWW-Authenticate",
		"Cookie", "Set-Cookie", "Set-cookie", "Content-Encoding", "Content-Type", "Content-Range",
		"Content-Location", "Content-Language", "Content-Security-Policy", "Cache-Control", "Pragma", "Age",
		"Expires", "Date", "Location", "Vary", "Retry-After", "Range", "If-Match", "If-Range", "If-None-Match",
		"Forwarded", "Via", "X-Forwarded-For", "x-forwarded-for", "X-Forwarded-Proto", "X-Forwarded-Prefix",
		"X-Forwarded-Client-Cert", "X-Real-IP", "X-Kong-Request-Id", "X-Kong-Anything", "X-Consumer-ID",
		"X-Credential-Identifier", "X-Anonymous-Consumer", "X-Authenticated-Scope", "Sec-WebSocket-Accept",
		"Access-Control-Allow-Origin", "Strict-Transport-Security", "apikey", "X-HTTP-Method-Override",
		"X-Original-URL", "Proxy",
	}
}

func TestChunkDecoderRefuses(t *testing.T) {
	for _, tt := range badChunkeds() {
		t.Run(tt.name, func(t *testing.T) {
			whole := decode(t, []string{tt.body}, &chunkLimits)
			if whole.Fault != tt.want {
				t.Fatalf("got %q, want %q", whole.Fault, tt.want)
			}
			splits(tt.body, func(pieces []string) {
				if diff := cmp.Diff(whole, decode(t, pieces, &chunkLimits)); diff != "" {
					t.Fatalf("split as %q differs (-whole +split):\n%s", pieces, diff)
				}
			})
		})
	}
}

// TestChunkDecoderIncomplete holds that no body is done before its last byte.
func TestChunkDecoderIncomplete(t *testing.T) {
	for _, tt := range goodChunkeds() {
		for i := range len(tt.body) {
			if got := decode(t, []string{tt.body[:i]}, &chunkLimits); got.Done || got.Fault != faultNone {
				t.Fatalf("%s: after %q done is %v, fault %q", tt.name, tt.body[:i], got.Done, got.Fault)
			}
		}
	}
}

func TestChunkDecoderGreatChunk(t *testing.T) {
	var d ChunkDecoder
	d.Reset(l7.SideClient, &chunkLimits)
	if _, _, err := d.Next([]byte("4000000000000000\r\n")); err != nil {
		t.Fatal(err)
	}
	data, n, err := d.Next([]byte("abc"))
	if string(data) != "abc" || n != 3 || err != nil {
		t.Errorf("got %q, %d, %v", data, n, err)
	}
}

// TestChunkDecoderSide holds that the right party is blamed.
func TestChunkDecoderSide(t *testing.T) {
	for _, tt := range []struct {
		side   l7.Side
		status int
		reason l7.Reason
	}{
		{l7.SideClient, 400, l7.ReasonBadRequest},
		{l7.SideUpstream, 502, l7.ReasonUpstreamProtocol},
	} {
		var d ChunkDecoder
		d.Reset(tt.side, &chunkLimits)
		_, _, err := d.Next([]byte("x"))
		if f := faultOf(t, err, tt.side); f != faultChunkSize {
			t.Errorf("got %q", f)
		}
		if e := err.(*l7.Error); e.Status != tt.status || e.Reason != tt.reason {
			t.Errorf("side %d: status %d, reason %v; want %d, %v", tt.side, e.Status, e.Reason, tt.status, tt.reason)
		}
	}
}

// TestChunkDecoderReuse holds that nothing of one body shows in the next.
func TestChunkDecoderReuse(t *testing.T) {
	var d ChunkDecoder
	run := func(body string) (string, error) {
		d.Reset(l7.SideClient, &chunkLimits)
		var data []byte
		for b := []byte(body); len(b) > 0 && !d.Done(); {
			content, n, err := d.Next(b)
			if err != nil {
				return "", err
			}
			data, b = append(data, content...), b[n:]
		}
		return string(data), nil
	}
	for _, body := range []string{"3;ext=1\r\nabc\r\n0\r\nX: 1\r\n\r\n", "3\r\nab", "x", "0\r\nX: unfinished"} {
		run(body) //nolint:errcheck // only what is left behind counts
		data, err := run("2\r\nok\r\n0\r\nY: 2\r\n\r\n")
		if data != "ok" || err != nil || !d.Done() {
			t.Fatalf("after %q: %q, %v", body, data, err)
		}
		if diff := cmp.Diff([]string{"Y: 2"}, fieldsOf(d.Trailer())); diff != "" {
			t.Fatalf("after %q the trailer differs:\n%s", body, diff)
		}
	}
}

// TestAppendChunkSize holds that what is written is read again.
func TestAppendChunkSize(t *testing.T) {
	for _, n := range []int{1, 9, 10, 255, 4096, math.MaxInt32} {
		var d ChunkDecoder
		d.Reset(l7.SideUpstream, &chunkLimits)
		if _, _, err := d.Next(AppendChunkSize(nil, n)); err != nil || d.remaining != uint64(n) {
			t.Errorf("%d is read as %d, %v", n, d.remaining, err)
		}
	}
	if got := string(AppendChunkSize([]byte("x"), 255)); got != "xff\r\n" {
		t.Errorf("got %q", got)
	}
}
