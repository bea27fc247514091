package edge

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// MaxRehearsedBytes bounds a request for Rehearsal.Read: its content is held whole.
const MaxRehearsedBytes = 128 << 20

// Read reads a request as people write it to a file: a head in HTTP/1.1, whose lines
// end in CR LF or in LF alone, an empty line, and content up to the end. The
// request's Content-Length is what follows, whatever the head says, unless its
// content is chunked. notes tell what is not as the file has it. The error is what
// the edge itself would find wrong with the request, or that content is missing.
func (r *Rehearsal) Read(raw []byte) (q *RehearsedRequest, notes []string, err error) {
	if len(raw) > MaxRehearsedBytes {
		return nil, nil, fmt.Errorf("the request has more than %d bytes", MaxRehearsedBytes)
	}
	f := requestFile{}
	f.parse(raw)
	limits := engineSettings(&r.compiler.cfg.Node.Limits).Limits
	q = &RehearsedRequest{Body: f.body}
	if err := syntax.ParseRequest(f.head(), &limits, &q.Request); err != nil {
		return nil, f.notes, err
	}
	if q.Request.ContentLength < 0 {
		rest := 0
		if q.Body, rest, err = unchunked(f.body, &limits); err != nil {
			return nil, f.notes, err
		}
		if left := f.body[len(f.body)-rest:]; rest > 0 && !isLineEnd(left) {
			f.notes = append(f.notes, fmt.Sprintf("%d bytes behind the last chunk are left out", rest))
		}
	}
	q.Request.HeadSize = len(f.head())
	return q, f.notes, nil
}

// requestFile is a request as it stands in a file.
type requestFile struct {
	lines []string // of the head, without their ends
	body  []byte
	notes []string
}

// parse takes the file apart and settles the length of its content.
func (f *requestFile) parse(raw []byte) {
	rest := raw
	for len(rest) > 0 {
		line := rest
		if n := bytes.IndexByte(rest, '\n'); n >= 0 {
			line, rest = rest[:n], rest[n+1:]
		} else {
			rest = nil
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 && len(f.lines) > 0 {
			break
		}
		if len(line) > 0 {
			f.lines = append(f.lines, string(line))
		}
	}
	f.body = rest
	f.settleLength()
}

// settleLength lets the head tell the length of what follows.
func (f *requestFile) settleLength() {
	at := -1
	for i, line := range f.lines[min(1, len(f.lines)):] {
		name, _, _ := strings.Cut(line, ":")
		switch {
		case strings.EqualFold(name, "Transfer-Encoding"):
			return
		case strings.EqualFold(name, "Content-Length"):
			at = i + 1
		}
	}
	if at < 0 {
		if isLineEnd(f.body) {
			f.body = nil // an editor's
		}
		if len(f.body) > 0 {
			f.lines = append(f.lines, "Content-Length: "+strconv.Itoa(len(f.body)))
		}
		return
	}
	_, value, _ := strings.Cut(f.lines[at], ":")
	said, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || said < 0 || said == len(f.body) {
		return // or the parser tells what is wrong with it
	}
	if said < len(f.body) && isLineEnd(f.body[said:]) {
		f.body = f.body[:said] // an editor's
		return
	}
	f.notes = append(f.notes, fmt.Sprintf("Content-Length is %d and not %d: as many bytes follow the head", len(f.body), said))
	f.lines[at] = "Content-Length: " + strconv.Itoa(len(f.body))
}

func isLineEnd(b []byte) bool { return string(b) == "\n" || string(b) == "\r\n" }

// head returns the head as it goes over a wire.
func (f *requestFile) head() string { return strings.Join(f.lines, "\r\n") + "\r\n\r\n" }

// unchunked returns the content of a chunked body, and how many bytes are behind it.
func unchunked(b []byte, limits *syntax.Limits) (content []byte, rest int, err error) {
	var d syntax.ChunkDecoder
	d.Reset(l7.SideClient, limits)
	for len(b) > 0 && !d.Done() {
		data, n, err := d.Next(b)
		if err != nil {
			return nil, 0, err
		}
		content = append(content, data...)
		b = b[n:]
	}
	if !d.Done() {
		return nil, 0, fmt.Errorf("the chunked content has no end")
	}
	return content, len(b), nil
}
