package syntax

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

func TestAppendField(t *testing.T) {
	b := AppendField([]byte("x"), "Host", "a")
	b = AppendField(b, "Empty", "")
	b = AppendContentLength(b, 1<<62)
	want := "xHost: a\r\nEmpty: \r\nContent-Length: 4611686018427387904\r\n"
	if string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
}

// TestAppendStatusLine holds that every status we could send is one we accept.
func TestAppendStatusLine(t *testing.T) {
	for code := 100; code <= 999; code++ {
		line := AppendStatusLine(nil, code)
		if want := "HTTP/1.1 " + strconv.Itoa(code) + " " + StatusText(code) + "\r\n"; string(line) != want {
			t.Fatalf("got %q, want %q", line, want)
		}
		if code > maxStatus {
			continue
		}
		var (
			resp l7.Response
			f    Framing
		)
		if err := ParseResponse(string(line)+"\r\n", "GET", &wideLimits, &resp, &f); err != nil || resp.Status != code {
			t.Fatalf("%q is read as %d, %v", line, resp.Status, err)
		}
	}
}

// TestStatusText holds that exactly the codes net/http knows have a text.
func TestStatusText(t *testing.T) {
	for code := -1; code <= 1000; code++ {
		if (StatusText(code) == "") != (http.StatusText(code) == "") {
			t.Errorf("text of %d is %q, net/http says %q", code, StatusText(code), http.StatusText(code))
		}
	}
}
