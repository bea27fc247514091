package syntax

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/l7"
)

// readResponse is readRequest for an answer.
func readResponse(t *testing.T, pieces []string, method string) (resp *l7.Response, fr *Framing, f fault) {
	t.Helper()
	var b []byte
	from := 0
	for _, piece := range pieces {
		b = append(b, piece...)
		end, err := FindResponseHead(b, from, &wideLimits)
		if err != nil {
			return nil, nil, faultOf(t, err, l7.SideUpstream)
		}
		if end == 0 {
			from = len(b)
			continue
		}
		resp, fr = new(l7.Response), new(Framing)
		if err := ParseResponse(string(b[:end]), method, &wideLimits, resp, fr); err != nil {
			return nil, nil, faultOf(t, err, l7.SideUpstream)
		}
		return resp, fr, faultNone
	}
	return nil, nil, faultNone
}

// answer is a head with this status line and these fields.
func answer(line string, fields ...string) string {
	return line + "\r\n" + strings.Join(append(fields, "", ""), "\r\n")
}

type goodResponse struct {
	name   string
	method string
	head   string
	status int
	size   int64
	want   Framing // without HeadSize
}

func goodResponses() []goodResponse {
	const ok = "HTTP/1.1 200 OK"
	untilClose := Framing{Proto: l7.HTTP11, Body: BodyUntilClose, Close: true}
	none := Framing{Proto: l7.HTTP11}
	noneClosing := Framing{Proto: l7.HTTP11, Close: true}
	length := func(n int64) Framing {
		return Framing{Proto: l7.HTTP11, Body: BodyLength, ContentLength: n}
	}
	return []goodResponse{
		{"plain", "GET", answerHead, 200, 612, length(612)},
		{"length zero", "GET", answer(ok, "Content-Length: 0"), 200, 0, length(0)},
		{"chunked", "GET", answer(ok, "Transfer-Encoding: chunked"), 200, -1, Framing{Proto: l7.HTTP11, Body: BodyChunked}},
		{"until close", "GET", answer(ok), 200, -1, untilClose},
		{"until close in spite of keep-alive", "GET", answer(ok, "Connection: keep-alive"), 200, -1, untilClose},
		{"length and close", "GET", answer(ok, "Content-Length: 1", "Connection: x, Close"), 200, 1, Framing{
			Proto: l7.HTTP11, Body: BodyLength, ContentLength: 1, Close: true,
		}},
		{"error status with content", "GET", answer("HTTP/1.1 500 Oh", "Content-Length: 1"), 500, 1, length(1)},
		{"reset content", "GET", answer("HTTP/1.1 205 R", "Content-Length: 0"), 205, 0, length(0)},
		{"greatest status", "GET", answer("HTTP/1.1 599 ", "Content-Length: 0"), 599, 0, length(0)},

		{"no reason phrase", "GET", answer("HTTP/1.1 200 ", "Content-Length: 0"), 200, 0, length(0)},
		{"no space behind the status", "GET", answer("HTTP/1.1 200", "Content-Length: 0"), 200, 0, length(0)},
		{"odd reason phrase", "GET", answer("HTTP/1.1 200  \t\xe9 404", "Content-Length: 0"), 200, 0, length(0)},

		{"1.0", "GET", answer("HTTP/1.0 200 OK", "Content-Length: 1"), 200, 1, Framing{
			Proto: l7.HTTP10, Body: BodyLength, ContentLength: 1, Close: true,
		}},
		{"1.0 keep-alive", "GET", answer("HTTP/1.0 200 OK", "Content-Length: 1", "Connection: keep-alive"), 200, 1, Framing{
			Proto: l7.HTTP10, Body: BodyLength, ContentLength: 1,
		}},
		{"1.0 until close", "GET", answer("HTTP/1.0 200 OK", "Connection: keep-alive"), 200, -1, Framing{
			Proto: l7.HTTP10, Body: BodyUntilClose, Close: true,
		}},

		{"HEAD with length", "HEAD", answer(ok, "Content-Length: 7"), 200, 7, none},
		{"HEAD chunked", "HEAD", answer(ok, "Transfer-Encoding: chunked"), 200, -1, none},
		{"HEAD without either", "HEAD", answer(ok), 200, -1, none},
		{"head is another method", "head", answer(ok, "Content-Length: 7"), 200, 7, length(7)},
		{"not modified", "GET", answer("HTTP/1.1 304 N", "Content-Length: 7"), 304, 7, none},
		{"not modified, chunked", "GET", answer("HTTP/1.1 304 N", "Transfer-Encoding: chunked"), 304, -1, none},
		{"no content", "GET", answer("HTTP/1.1 204 N"), 204, -1, none},
		{"no content, length zero", "GET", answer("HTTP/1.1 204 N", "Content-Length: 0"), 204, -1, none},
		{"no content, but a length", "GET", answer("HTTP/1.1 204 N", "Content-Length: 7"), 204, -1, noneClosing},
		{"no content, but chunked", "GET", answer("HTTP/1.1 204 N", "Transfer-Encoding: chunked"), 204, -1, noneClosing},
		{"continue", "POST", answer("HTTP/1.1 100 Continue"), 100, -1, none},
		{"early hints", "GET", answer("HTTP/1.1 103 E", "Link: </a>"), 103, -1, none},
		{"switching", "GET", answer("HTTP/1.1 101 S", "Connection: Upgrade", "Upgrade: websocket"), 101, -1, Framing{
			Proto: l7.HTTP11, Upgrade: "websocket",
		}},
		{"switching to nothing", "GET", answer("HTTP/1.1 101 S", "Connection: Upgrade"), 101, -1, none},
		{"switching, not nominated", "GET", answer("HTTP/1.1 101 S", "Upgrade: websocket"), 101, -1, none},
		{"switching with 1.0", "GET", answer("HTTP/1.0 101 S", "Connection: Upgrade", "Upgrade: websocket"), 101, -1, Framing{
			Proto: l7.HTTP10, Close: true,
		}},
		{"upgrade offered", "GET", answer(ok, "Content-Length: 0", "Connection: Upgrade", "Upgrade: websocket"), 200, 0, length(0)},
		{"fields of requests mean nothing", "GET", answer(ok, "Content-Length: 0", "Host: a", "Host: b", "Expect: x"), 200, 0, length(0)},
	}
}

func TestParseResponse(t *testing.T) {
	for _, tt := range goodResponses() {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.HeadSize = len(tt.head)
			check := func(pieces []string) {
				t.Helper()
				resp, fr, f := readResponse(t, pieces, tt.method)
				if f != faultNone || resp == nil {
					t.Fatalf("refused or incomplete: %v", f)
				}
				if resp.Status != tt.status || resp.Size != tt.size || resp.Proto != tt.want.Proto {
					t.Errorf("status %d, size %d, %v; want %d, %d, %v", resp.Status, resp.Size, resp.Proto, tt.status, tt.size, tt.want.Proto)
				}
				if diff := cmp.Diff(tt.want, *fr); diff != "" {
					t.Errorf("framing differs (-want +got):\n%s", diff)
				}
				if n := strings.Count(tt.head, "\r\n") - 2; resp.Header.Len() != n {
					t.Errorf("%d fields, want %d", resp.Header.Len(), n)
				}
			}
			check([]string{tt.head + "x"})
			splits(tt.head, check)
		})
	}
}

func TestParseResponseReuses(t *testing.T) {
	resp := l7.Response{Status: 1, Size: 7}
	resp.Header.Add("Old", "1")
	resp.Trailer.Add("Old", "1")
	f := Framing{Upgrade: "old", ContentLength: 7, Close: true, Body: BodyChunked}
	if err := ParseResponse(answer("HTTP/1.1 204 N", "X: y"), "GET", &wideLimits, &resp, &f); err != nil {
		t.Fatal(err)
	}
	if resp.Status != 204 || resp.Size != -1 || resp.Trailer.Len() != 0 {
		t.Errorf("status %d, size %d, %d trailers", resp.Status, resp.Size, resp.Trailer.Len())
	}
	if diff := cmp.Diff([]string{"X: y"}, fieldsOf(&resp.Header)); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Framing{Proto: l7.HTTP11, HeadSize: 24}, f); diff != "" {
		t.Errorf("framing differs (-want +got):\n%s", diff)
	}
}

func badResponses() []badHead {
	const ok = "HTTP/1.1 200 OK"
	return []badHead{
		{"CL and TE", answer(ok, "Content-Length: 1", "Transfer-Encoding: chunked"), faultLengthAndEncoding},
		{"CL twice, alike", answer(ok, "Content-Length: 1", "Content-Length: 1"), faultLengthTwice},
		{"CL twice, unlike", answer(ok, "Content-Length: 1", "Content-Length: 2"), faultLengthTwice},
		{"CL list", answer(ok, "Content-Length: 1, 1"), faultLength},
		{"CL plus", answer(ok, "Content-Length: +1"), faultLength},
		{"CL hexadecimal", answer(ok, "Content-Length: 0x1"), faultLength},
		{"CL too great", answer(ok, "Content-Length: 9223372036854775808"), faultLength},
		{"TE twice", answer(ok, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), faultEncodingTwice},
		{"TE list", answer(ok, "Transfer-Encoding: gzip, chunked"), faultEncoding},
		{"TE gzip", answer(ok, "Transfer-Encoding: gzip"), faultEncodingUnknown},
		{"TE identity", answer(ok, "Transfer-Encoding: identity"), faultEncodingUnknown},
		{"TE with 1.0", answer("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), faultEncodingHTTP10},
		{"continue with length", answer("HTTP/1.1 100 C", "Content-Length: 1"), faultInterimBody},
		{"continue chunked", answer("HTTP/1.1 100 C", "Transfer-Encoding: chunked"), faultInterimBody},
		{"switching with length", answer("HTTP/1.1 101 S", "Connection: upgrade", "Upgrade: x", "Content-Length: 1"), faultInterimBody},

		{"bare LF", "HTTP/1.1 200 OK\nX: 1\r\n\r\n", faultBareLF},
		{"bare LF everywhere", "HTTP/1.1 200 OK\nX: 1\n\n", faultBareLF},
		{"bare CR in the reason phrase", "HTTP/1.1 200 O\rK\r\n\r\n", faultReasonPhrase},
		{"leading empty line", "\r\nHTTP/1.1 200 OK\r\n\r\n", faultVersion},
		{"fold", answer(ok, "X: 1", " 2"), faultFold},
		{"space before colon", answer(ok, "X : 1"), faultSpaceBeforeColon},
		{"no name", answer(ok, ": 1"), faultFieldName},
		{"no colon", answer(ok, "X"), faultFieldName},
		{"NUL in a value", answer(ok, "X: \x00"), faultControl},
		{"bare CR in a value", answer(ok, "X: 1\rY: 2"), faultBareCR},
		{"Connection malformed", answer(ok, "Connection: a b"), faultConnection},
		{"too many fields", answer(ok, strings.Split(strings.Repeat("X: 1\n", 101), "\n")[:101]...), faultTooManyFields},

		{"NUL in the reason phrase", answer("HTTP/1.1 200 O\x00K"), faultReasonPhrase},
		{"tab behind the status", answer("HTTP/1.1 200\tOK"), faultStatus},
		{"no status", answer("HTTP/1.1 "), faultStatus},
		{"no status, but a phrase", answer("HTTP/1.1 OK"), faultStatus},
		{"status of two digits", answer("HTTP/1.1 20 OK"), faultStatus},
		{"status of four digits", answer("HTTP/1.1 2000 OK"), faultStatus},
		{"status negative", answer("HTTP/1.1 -20 OK"), faultStatus},
		{"status 099", answer("HTTP/1.1 099 OK"), faultStatus},
		{"status 600", answer("HTTP/1.1 600 OK"), faultStatus},
		{"status 999", answer("HTTP/1.1 999 OK"), faultStatus},
		{"two spaces before the status", answer("HTTP/1.1  200 OK"), faultStatus},
		{"tab before the status", answer("HTTP/1.1\t200 OK"), faultVersion},
		{"version 1.2", answer("HTTP/1.2 200 OK"), faultVersion},
		{"version 2.0", answer("HTTP/2.0 200 OK"), faultVersion},
		{"version 2", answer("HTTP/2 200 OK"), faultVersion},
		{"version 1.10", answer("HTTP/1.10 200 OK"), faultVersion},
		{"version in small letters", answer("http/1.1 200 OK"), faultVersion},
		{"another protocol", answer("SSH-2.0-OpenSSH_9.9"), faultVersion},
		{"a stream of its own kind", answer("ICY 200 OK"), faultVersion},
		{"a body", "<html>\r\n\r\n", faultVersion},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 17<<10), faultHeadTooLarge},
	}
}

func TestBadResponses(t *testing.T) {
	for _, tt := range badResponses() {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, f := readResponse(t, []string{tt.head}, "GET"); f != tt.want {
				t.Fatalf("got %q, want %q", f, tt.want)
			}
			if len(tt.head) > 1<<10 {
				return // too many places to split it at
			}
			splits(tt.head, func(pieces []string) {
				if _, _, f := readResponse(t, pieces, "GET"); f == faultNone {
					t.Fatalf("split as %q it gets in", pieces)
				}
			})
		})
	}
}
