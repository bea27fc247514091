package health

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadStatus(t *testing.T) {
	long := strings.Repeat("a", maxAnswerBytes)
	tests := []struct {
		name, text string
		want       int
		err        error
	}{
		{"plain", "HTTP/1.1 200 OK\r\nA: b\r\n\r\ncontent", 200, nil},
		{"no phrase", "HTTP/1.1 503\r\n\r\n", 503, nil},
		{"empty phrase", "HTTP/1.1 404 \r\n\r\n", 404, nil},
		{"http 1.0", "HTTP/1.0 301 Moved\r\nLocation: /\r\n\r\n", 301, nil},
		{"unusual status", "HTTP/1.1 799 x\r\n\r\n", 799, nil},
		{"switching protocols", "HTTP/1.1 101 x\r\n\r\n", 101, nil},
		{"behind interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 x\r\n\r\n", 204, nil},
		{"long head", "HTTP/1.1 200 OK\r\nA: " + long, 200, nil},

		{"nothing", "", 0, errNoHead},
		{"half a head", "HTTP/1.1 200 OK\r\nA: b\r\n", 0, errNoHead},
		{"only interim", "HTTP/1.1 100 x\r\n\r\n", 0, errNoHead},
		{"endless interim", strings.Repeat("HTTP/1.1 100 x\r\n\r\n", maxAnswerBytes), 0, errInterims},
		{"endless status line", "HTTP/1.1 200 " + long, 0, errInterims},
		{"endless interim head", "HTTP/1.1 103 x\r\nA: " + long, 0, errInterims},
		{"another protocol", "SSH-2.0-x\r\n", 0, errNotHTTP},
		{"http 2", "HTTP/2 200 OK\r\n\r\n", 0, errNotHTTP},
		{"http 1.2", "HTTP/1.2 200 OK\r\n\r\n", 0, errNotHTTP},
		{"short status", "HTTP/1.1 20\r\n\r\n", 0, errNotHTTP},
		{"long status", "HTTP/1.1 2000\r\n\r\n", 0, errNotHTTP},
		{"low status", "HTTP/1.1 099 x\r\n\r\n", 0, errNotHTTP},
		{"no digits", "HTTP/1.1 2x0 x\r\n\r\n", 0, errNotHTTP},
		{"bare line feed", "HTTP/1.1 200 OK\nA: b\n\n", 0, errNotHTTP},
		{"garbage behind an interim answer", "HTTP/1.1 100 x\r\n\r\nx", 0, errNotHTTP},
	}
	for _, tt := range tests {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":        func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"end at once":  iotest.DataErrReader,
		} {
			t.Run(tt.name+" "+how, func(t *testing.T) {
				got, err := readStatus(wrap(strings.NewReader(tt.text)))
				if got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%d, %v, want %d, %v", got, err, tt.want, tt.err)
				}
			})
		}
	}
}

// TestReadStatusIsBounded reads from a server that never ends.
func TestReadStatusIsBounded(t *testing.T) {
	endless := &counting{r: io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nA: "), forever{})}
	if got, err := readStatus(endless); got != 200 || err != nil {
		t.Errorf("%d, %v, want 200", got, err)
	}
	if endless.n != maxAnswerBytes {
		t.Errorf("%d bytes were read, want %d", endless.n, maxAnswerBytes)
	}
}

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestReadStatusTellsTheCause(t *testing.T) {
	cause := errors.New("cut")
	_, err := readStatus(io.MultiReader(strings.NewReader("HTTP/1.1 2"), iotest.ErrReader(cause)))
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

// FuzzParseStatus holds that more bytes never take back what fewer have told.
func FuzzParseStatus(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 100 x\r\n\r\nHTTP/1.0 503\r\n\r\nrest",
		"HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 2", "HTTP/1.1 2000\r\n", "\r\n", "HTTP/1.1 200\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		last, lastWhole := 0, false
		var lastErr error
		for i := range len(b) + 1 {
			status, whole, err := parseStatus(b[:i])
			switch {
			case err != nil && (status != 0 || whole):
				t.Fatalf("%q: status %d beside the error %v", b[:i], status, err)
			case status != 0 && (status < 100 || status > 999):
				t.Fatalf("%q: status %d", b[:i], status)
			case whole && status == 0:
				t.Fatalf("%q: a whole head without a status", b[:i])
			case lastErr != nil && !errors.Is(err, lastErr):
				t.Fatalf("%q: %v became %v", b[:i], lastErr, err)
			case last != 0 && status != last, lastWhole && !whole:
				t.Fatalf("%q: status %d, %v became %d, %v", b[:i], last, lastWhole, status, whole)
			}
			last, lastWhole, lastErr = status, whole, err
		}
	})
}
