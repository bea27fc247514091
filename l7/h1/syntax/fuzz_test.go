package syntax

import (
	"bufio"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/l7"
)

// The fuzz targets hold two things. However a message is split, the outcome is
// the same. And what we let in, net/http lets in too and reads alike: we are a
// subset, so that nobody behind us finds another message in the same bytes.
//
// The known, deliberate differences are these:
//
//   - We bound sizes that net/http does not, and refuse much that it takes: the
//     tables of bad messages tell.
//   - net/http refuses a Trailer field that announces a framing field. We let
//     the announcement pass and refuse the trailer field itself.
//   - net/http's URL package refuses some hosts of an absolute target that are
//     valid by the grammar, and leaves the path of one without path empty.
//   - net/http derives a Cache-Control from Pragma and takes Host,
//     Transfer-Encoding, Trailer and an answer's Connection out of the header.

// rewritten are the fields that net/http does not leave as they are.
var rewritten = []string{"Host", "Transfer-Encoding", "Trailer", "Content-Length", "Cache-Control", "Pragma"}

func FuzzRequest(f *testing.F) {
	for _, tt := range goodRequests() {
		f.Add(tt.head, 7)
	}
	for _, tt := range badRequests() {
		f.Add(tt.head, 3)
	}
	f.Add(browserHead, 100)
	f.Fuzz(func(t *testing.T, in string, at int) {
		r, rest, fault := readRequest(t, []string{in}, &wideLimits)
		if at > 0 && at < len(in) {
			s, splitRest, splitFault := readRequest(t, []string{in[:at], in[at:]}, &wideLimits)
			if (fault == faultNone) != (splitFault == faultNone) || rest != splitRest {
				t.Fatalf("whole: fault %v, rest %q; split: fault %v, rest %q", fault, rest, splitFault, splitRest)
			}
			if diff := cmp.Diff(r, s, requestCmp); diff != "" {
				t.Fatalf("split differs:\n%s", diff)
			}
		}
		if r == nil {
			_ = ParseRequest(in, &wideLimits, new(l7.Request)) // must not panic
			return
		}
		head := strings.TrimSuffix(in, rest)
		compareRequest(t, strings.TrimLeft(head, "\r\n"), r)
	})
}

// compareRequest holds r against what net/http reads.
func compareRequest(t *testing.T, head string, r *l7.Request) {
	t.Helper()
	h, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		if strings.Contains(err.Error(), "bad trailer key") || strings.HasPrefix(r.Target, "http") && strings.Contains(err.Error(), "invalid") {
			return
		}
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	if h.Method != r.Method || h.RequestURI != r.Target || h.Host != r.Authority {
		t.Fatalf("net/http reads %q %q %q, not %q %q %q", h.Method, h.RequestURI, h.Host, r.Method, r.Target, r.Authority)
	}
	if h.ProtoMajor != 1 || h.ProtoMinor != int(r.Proto-l7.HTTP10) {
		t.Fatalf("net/http reads %s, not %v", h.Proto, r.Proto)
	}
	path, err := url.PathUnescape(r.Path)
	if err != nil || h.URL.Path != path && h.URL.Path != "" {
		t.Fatalf("net/http reads the path %q, not %q, %v", h.URL.Path, path, err)
	}
	if h.URL.RawQuery != r.Query || h.URL.ForceQuery != (r.HasQuery && r.Query == "") {
		t.Fatalf("net/http reads the query %q, not %q", h.URL.RawQuery, r.Query)
	}
	if h.ContentLength != r.ContentLength || h.Close != r.Close {
		t.Fatalf("net/http reads length %d, close %v; not %d, %v", h.ContentLength, h.Close, r.ContentLength, r.Close)
	}
	compareHeader(t, h.Header, &r.Header)
}

// compareHeader holds the fields of h against those net/http read.
func compareHeader(t *testing.T, theirs http.Header, h *l7.Header) {
	t.Helper()
	ours := http.Header{}
	for _, f := range h.Fields() {
		if name := textproto.CanonicalMIMEHeaderKey(f.Name); !slices.Contains(rewritten, name) {
			ours[name] = append(ours[name], f.Value)
		}
	}
	for _, name := range rewritten {
		delete(theirs, name)
	}
	if theirs.Get("Connection") == "" { // taken out of answers if it says close
		delete(theirs, "Connection")
		delete(ours, "Connection")
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Fatalf("fields differ (-net/http +ours):\n%s", diff)
	}
}

func FuzzResponse(f *testing.F) {
	for _, tt := range goodResponses() {
		f.Add(tt.head, tt.method == "HEAD", 7)
	}
	for _, tt := range badResponses() {
		f.Add(tt.head, false, 3)
	}
	f.Fuzz(func(t *testing.T, in string, isHead bool, at int) {
		method := "GET"
		if isHead {
			method = "HEAD"
		}
		resp, framing, fault := readResponse(t, []string{in}, method)
		if at > 0 && at < len(in) {
			_, splitFraming, splitFault := readResponse(t, []string{in[:at], in[at:]}, method)
			if (fault == faultNone) != (splitFault == faultNone) {
				t.Fatalf("whole: fault %v; split: fault %v", fault, splitFault)
			}
			if diff := cmp.Diff(framing, splitFraming); diff != "" {
				t.Fatalf("split differs:\n%s", diff)
			}
		}
		if resp == nil {
			_ = ParseResponse(in, method, &wideLimits, new(l7.Response), new(Framing)) // must not panic
			return
		}
		compareResponse(t, in[:framing.HeadSize], method, resp, framing)
	})
}

// compareResponse holds resp against what net/http reads.
func compareResponse(t *testing.T, head, method string, resp *l7.Response, f *Framing) {
	t.Helper()
	h, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head)), &http.Request{Method: method})
	if err != nil {
		if strings.Contains(err.Error(), "bad trailer key") {
			return
		}
		t.Fatalf("net/http refuses %q: %v", head, err)
	}
	if h.StatusCode != resp.Status || h.ProtoMinor != int(f.Proto-l7.HTTP10) {
		t.Fatalf("net/http reads %d %s, not %d %v", h.StatusCode, h.Proto, resp.Status, f.Proto)
	}
	if h.Close && !f.Close {
		t.Fatal("net/http would close the connection, we would not")
	}
	body := BodyNone
	switch {
	case h.Body == http.NoBody && h.ContentLength != 0, method == "HEAD", resp.Status < 200, resp.Status == 204, resp.Status == 304:
	case slices.Equal(h.TransferEncoding, []string{"chunked"}):
		body = BodyChunked
	case h.ContentLength >= 0:
		body = BodyLength
	default:
		body = BodyUntilClose
	}
	if body != f.Body || body == BodyLength && h.ContentLength != f.ContentLength {
		t.Fatalf("net/http reads body kind %d of %d bytes, not %d of %d", body, h.ContentLength, f.Body, f.ContentLength)
	}
	compareHeader(t, h.Header, &resp.Header)
}

func FuzzChunked(f *testing.F) {
	for _, tt := range goodChunkeds() {
		f.Add(tt.body, 3, 5)
	}
	for _, tt := range badChunkeds() {
		f.Add(tt.body, 1, 4)
	}
	f.Fuzz(func(t *testing.T, in string, first, second int) {
		whole := decode(t, []string{in}, &wideLimits)
		if 0 < first && first < second && second < len(in) {
			split := decode(t, []string{in[:first], in[first:second], in[second:]}, &wideLimits)
			if diff := cmp.Diff(whole, split); diff != "" {
				t.Fatalf("split differs:\n%s", diff)
			}
		}
		if !whole.Done {
			return
		}
		compareChunked(t, in, &whole)
	})
}

// compareChunked holds a decoded body against what net/http reads.
func compareChunked(t *testing.T, body string, got *decoded) {
	t.Helper()
	src := bufio.NewReader(strings.NewReader("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body))
	h, err := http.ReadRequest(src)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(h.Body)
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", body, err)
	}
	if string(data) != got.Data {
		t.Fatalf("net/http reads %q, not %q", data, got.Data)
	}
	ours := http.Header{}
	for _, line := range got.Trailer {
		name, value, _ := strings.Cut(line, ": ")
		name = textproto.CanonicalMIMEHeaderKey(name)
		ours[name] = append(ours[name], value)
	}
	if len(h.Trailer)+len(ours) > 0 {
		if diff := cmp.Diff(h.Trailer, ours); diff != "" {
			t.Fatalf("trailers differ (-net/http +ours):\n%s", diff)
		}
	}
	if rest, _ := io.ReadAll(src); string(rest) != got.Rest { //nolint:errcheck // a string does not fail
		t.Fatalf("net/http leaves %q behind, not %q", rest, got.Rest)
	}
}
