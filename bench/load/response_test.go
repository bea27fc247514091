package load

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestAnswer(t *testing.T) {
	tests := []struct {
		name   string
		head   bool
		raw    string
		status int
		keep   bool
		left   string // Not consumed by the answer.
		err    error
	}{
		{name: "length", raw: "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 3\r\n\r\nabc", status: 200, keep: true},
		{name: "no reason phrase", raw: "HTTP/1.1 404\r\nContent-Length:0\r\n\r\n", status: 404, keep: true},
		{name: "close", raw: "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\na", status: 200},
		{name: "http/1.0", raw: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", status: 200},
		{name: "http/1.0 keep-alive", raw: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", status: 200, keep: true},
		{name: "until close", raw: "HTTP/1.1 200 OK\r\n\r\nabc", status: 200},
		{name: "interim", raw: "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", status: 204, keep: true},
		{name: "head request", head: true, raw: "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", status: 200, keep: true},
		{name: "not modified", raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", status: 304, keep: true},
		{name: "chunked", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n", status: 200, keep: true},
		{name: "more than asked for", raw: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc", status: 200, left: "bc"},

		{name: "nothing", raw: "", err: io.EOF},
		{name: "torn head", raw: "HTTP/1.1 200 OK\r\nConte", err: io.ErrUnexpectedEOF},
		{name: "torn body", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", err: io.ErrUnexpectedEOF},
		{name: "torn chunk", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", err: io.ErrUnexpectedEOF},
		{name: "no last chunk", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", err: io.ErrUnexpectedEOF},
		{name: "long chunk", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", err: errProtocol},
		{name: "bad chunk size", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nab\r\n", err: errProtocol},
		{name: "other coding", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", err: errProtocol},
		{name: "two lengths", raw: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", err: errProtocol},
		{name: "signed length", raw: "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", err: errProtocol},
		{name: "huge length", raw: "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\na", err: errProtocol},
		{name: "http/2", raw: "HTTP/2.0 200 OK\r\n\r\n", err: errProtocol},
		{name: "short status", raw: "HTTP/1.1 20\r\n\r\n", err: errProtocol},
		{name: "long status", raw: "HTTP/1.1 2000 OK\r\n\r\n", err: errProtocol},
		{name: "status 099", raw: "HTTP/1.1 099 OK\r\n\r\n", err: errProtocol},
		{name: "upgrade", raw: "HTTP/1.1 101 Switching Protocols\r\n\r\n", err: errProtocol},
		{name: "line without colon", raw: "HTTP/1.1 200 OK\r\nServer\r\n\r\n", err: errProtocol},
		{name: "endless interim", raw: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1), err: errProtocol},
		{name: "endless head", raw: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", readBuffer), err: errProtocol},
		{name: "endless trailer", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("a: b\r\n", maxTrailer+1), err: errProtocol},
	}
	sources := map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"halves":       iotest.HalfReader,
	}
	for _, tt := range tests {
		for how, source := range sources {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				rest := strings.NewReader(tt.raw)
				rd := &reader{src: source(rest), buf: make([]byte, readBuffer)}
				status, keep, err := rd.answer(tt.head)
				if !errors.Is(err, tt.err) {
					t.Fatalf("got error %v, want %v", err, tt.err)
				}
				if err != nil {
					return
				}
				// What is left over may not have been read yet; then the
				// connection looks clean here and the next answer is torn.
				wantKeep := tt.keep || tt.left != "" && rd.r == rd.w
				if status != tt.status || keep != wantKeep {
					t.Errorf("got status %d, keep %t; want %d, %t", status, keep, tt.status, wantKeep)
				}
				unread, _ := io.ReadAll(rest)
				if left := string(rd.buf[rd.r:rd.w]) + string(unread); left != tt.left {
					t.Errorf("left %q, want %q", left, tt.left)
				}
			})
		}
	}
}

// FuzzAnswer checks that an answer is read alike however its bytes arrive.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), false)
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nT: v\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 304 Not Modified\r\nConnection: keep-alive\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, raw []byte, headOnly bool) {
		read := func(src io.Reader) (int, string) {
			rd := &reader{src: src, buf: make([]byte, 512)}
			status, _, err := rd.answer(headOnly)
			kind := "none"
			switch {
			case errors.Is(err, errProtocol):
				kind = "protocol"
			case err != nil:
				kind = err.Error()
			}
			return status, kind
		}
		s1, e1 := read(strings.NewReader(string(raw)))
		s2, e2 := read(iotest.OneByteReader(strings.NewReader(string(raw))))
		if s1 != s2 || e1 != e2 {
			t.Errorf("at once: %d, %s; byte by byte: %d, %s", s1, e1, s2, e2)
		}
	})
}
