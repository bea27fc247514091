package origin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// blockSize is how many bytes of a body are written at once.
const blockSize = 64 << 10

// Handler returns the fixed answers as a handler. It is safe for any number of
// requests at once.
func Handler() http.Handler {
	s := &site{block: bytes.Repeat([]byte("bulwark origin\n\n"), blockSize/16)}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", s.hello)
	mux.HandleFunc("/size/{n}", s.size)
	mux.HandleFunc("/text/{n}", s.text)
	mux.HandleFunc("/chunked/{n}", s.chunked)
	mux.HandleFunc("/delay/{d}", s.delay)
	mux.HandleFunc("/status/{code}", s.status)
	mux.HandleFunc("/echo", s.echo)
	mux.HandleFunc("/echo/{rest...}", s.echo)
	return mux
}

// site holds the bytes that bodies are made of; it never changes.
type site struct{ block []byte }

func (s *site) hello(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "hello from the bulwark origin\n")
}

func (s *site) size(w http.ResponseWriter, r *http.Request) {
	s.fixed(w, r, "application/octet-stream")
}
func (s *site) text(w http.ResponseWriter, r *http.Request) { s.fixed(w, r, "text/plain") }

func (s *site) fixed(w http.ResponseWriter, r *http.Request, contentType string) {
	n, err := parseSize(r.PathValue("n"))
	if err != nil {
		writeText(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	s.fill(w, r, n)
}

func (s *site) chunked(w http.ResponseWriter, r *http.Request) {
	n, err := parseSize(r.PathValue("n"))
	if err != nil {
		writeText(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.WriteHeader(http.StatusOK)
	// Sending the head at once keeps net/http from computing a length.
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	s.fill(w, r, n)
}

// fill writes n bytes. A failed write means that the client has gone; there is
// nobody left to tell.
func (s *site) fill(w io.Writer, r *http.Request, n int64) {
	if r.Method == http.MethodHead {
		return
	}
	for n > 0 {
		k := min(n, int64(len(s.block)))
		if _, err := w.Write(s.block[:k]); err != nil {
			return
		}
		n -= k
	}
}

func (s *site) delay(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.PathValue("d"))
	if err != nil || d < 0 || d > MaxDelay {
		writeText(w, http.StatusBadRequest, fmt.Sprintf("delay %q: want a duration from 0s to %s\n", r.PathValue("d"), MaxDelay))
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		writeText(w, http.StatusOK, fmt.Sprintf("waited %s\n", d))
	case <-r.Context().Done():
		writeText(w, http.StatusServiceUnavailable, "the origin is stopping\n")
	}
}

func (s *site) status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		writeText(w, http.StatusBadRequest, fmt.Sprintf("status %q: want a number from 200 to 599\n", r.PathValue("code")))
		return
	}
	if code == http.StatusNoContent || code == http.StatusNotModified {
		w.WriteHeader(code)
		return
	}
	writeText(w, code, strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))+"\n")
}

// echoed is the JSON form of a request. Header fields are sorted by name; the
// values of one name stand in the order in which they were sent.
type echoed struct {
	Method  string      `json:"method"`
	Target  string      `json:"target"`
	Proto   string      `json:"proto"`
	Host    string      `json:"host"`
	Headers [][2]string `json:"headers"`
	Body    string      `json:"body"`
}

func (s *site) echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxEcho))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		writeText(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes\n", MaxEcho))
		return
	case err != nil:
		writeText(w, http.StatusBadRequest, fmt.Sprintf("reading the body: %v\n", err))
		return
	}
	e := echoed{Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host, Headers: fields(r), Body: string(body)}
	if strings.HasPrefix(r.Header.Get("Accept"), "text/plain") {
		writeText(w, http.StatusOK, e.text())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	// A failed write means that the client has gone.
	_ = enc.Encode(e)
}

// text is the request in the form it has on the wire.
func (e echoed) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", e.Method, e.Target, e.Proto, e.Host)
	for _, f := range e.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	b.WriteString("\r\n")
	b.WriteString(e.Body)
	return b.String()
}

// fields lists the header fields. Transfer-Encoding is put back, because
// net/http keeps it apart.
func fields(r *http.Request) [][2]string {
	list := make([][2]string, 0, len(r.Header)+1)
	for name, values := range r.Header {
		for _, v := range values {
			list = append(list, [2]string{name, v})
		}
	}
	for _, v := range r.TransferEncoding {
		list = append(list, [2]string{"Transfer-Encoding", v})
	}
	slices.SortStableFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return list
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(code)
	// A failed write means that the client has gone.
	_, _ = io.WriteString(w, text)
}

// parseSize reads a number of bytes with an optional k or m, in units of 1,024.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	digits := s
	switch {
	case strings.HasSuffix(s, "k"), strings.HasSuffix(s, "K"):
		unit, digits = 1<<10, s[:len(s)-1]
	case strings.HasSuffix(s, "m"), strings.HasSuffix(s, "M"):
		unit, digits = 1<<20, s[:len(s)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || int64(n) > MaxSize/unit {
		return 0, fmt.Errorf("size %q: want a number of bytes up to %d, with an optional k or m", s, MaxSize)
	}
	return int64(n) * unit, nil
}
