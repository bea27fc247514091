package traffic

import (
	"bufio"
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestRequests holds every request against net/http: each is one whole request,
// its content is as long as it says, and multipart content has whole parts.
func TestRequests(t *testing.T) {
	ordinary, err := Ordinary()
	if err != nil {
		t.Fatal(err)
	}
	attacks, err := Attacks()
	if err != nil {
		t.Fatal(err)
	}
	excluded, err := Excluded()
	if err != nil {
		t.Fatal(err)
	}
	if len(ordinary) < 200 || len(attacks) < 50 {
		t.Errorf("there are %d ordinary requests and %d attacks", len(ordinary), len(attacks))
	}
	seen := make(map[string]string)
	for _, r := range slices.Concat(ordinary, excluded, attacks) {
		name := r.Kind + "/" + r.Name
		if other, ok := seen[string(r.Bytes)]; ok {
			t.Errorf("%s is the same as %s", name, other)
		}
		seen[string(r.Bytes)] = name
		if err := whole(r.Bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func whole(b []byte) error {
	in := bufio.NewReader(bytes.NewReader(b))
	r, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		return http.ErrBodyNotAllowed
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil // no content, or none with parts
	}
	parts := multipart.NewReader(bytes.NewReader(content), params["boundary"])
	for {
		p, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := io.ReadAll(p); err != nil {
			return err
		}
	}
}

func TestRequest(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"no content": {"GET / HTTP/1.1\nHost: x\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		"content":    {"POST / HTTP/1.1\nHost: x\n\na\nb\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\na\r\nb"},
		"bytes":      {"POST / HTTP/1.1\nHost: x\n\nhex 00ff\nhex 41\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\x00\xff\r\nA"},
		"parts": {
			"POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary=b\n\n--b\n\nx\n--b--\n",
			"POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 17\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
		},
		"chunks": {
			"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\nabc\n",
			"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := request(c.src)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	if _, err := load(fstest.MapFS{"d/x.txtar": {Data: []byte("-- a --\nPOST / HTTP/1.1\n\nhex 0\n")}}, "d"); err == nil {
		t.Error("half a byte is taken")
	}
}
