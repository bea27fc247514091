package health

import (
	"bytes"
	"errors"
	"io"
)

// The bounds of what is read of an answer. A head that is longer than
// maxAnswerBytes is judged by its status line.
const (
	maxAnswerBytes   = 16 << 10
	firstAnswerBytes = 1 << 10
)

var (
	errNotHTTP  = errors.New("the answer is not HTTP/1")
	errInterims = errors.New("no final answer within its first bytes")
	errNoHead   = errors.New("the connection was closed within the head of the answer")
)

// readStatus reads an answer up to the end of its head, interim answers (1xx)
// aside, and returns its status.
func readStatus(r io.Reader) (int, error) {
	b := make([]byte, 0, firstAnswerBytes)
	for {
		status, whole, err := parseStatus(b)
		if err != nil || whole {
			return status, err
		}
		if len(b) == maxAnswerBytes {
			if status == 0 {
				return 0, errInterims
			}
			return status, nil
		}
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(4*cap(b), maxAnswerBytes)), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case n > 0: // an error shows again
		case errors.Is(err, io.EOF):
			return 0, errNoHead
		case err != nil:
			return 0, err
		}
	}
}

// parseStatus returns the status of the first final answer in b, 0 if its status
// line is not there yet, and whether its head is complete. What cannot become
// an answer any more is an error.
func parseStatus(b []byte) (status int, whole bool, err error) {
	for {
		status, err = parseStatusLine(b)
		if status == 0 || err != nil {
			return 0, false, err
		}
		end := bytes.Index(b, []byte("\r\n\r\n"))
		interim := status < 200 && status != 101
		if !interim {
			return status, end >= 0, nil
		}
		if end < 0 {
			return 0, false, nil
		}
		b = b[end+4:]
	}
}

// parseStatusLine returns the status that b begins with, 0 if more bytes are
// needed to tell. Statuses up to 999 pass, as in the lists they are held against.
func parseStatusLine(b []byte) (int, error) {
	const form = "HTTP/1.x nnn"
	line, _, complete := bytes.Cut(b, []byte("\n"))
	for i := range min(len(line), len(form)) {
		c, ok := line[i], false
		switch form[i] {
		case 'x':
			ok = c == '0' || c == '1'
		case 'n':
			ok = '0' <= c && c <= '9'
		default:
			ok = c == form[i]
		}
		if !ok {
			return 0, errNotHTTP
		}
	}
	if !complete {
		return 0, nil
	}
	rest, crlf := bytes.CutSuffix(line, []byte("\r"))
	if !crlf || len(rest) < len(form) || len(rest) > len(form) && rest[len(form)] != ' ' {
		return 0, errNotHTTP
	}
	status := 0
	for _, c := range rest[len("HTTP/1.x "):len(form)] {
		status = status*10 + int(c-'0')
	}
	if status < 100 {
		return 0, errNotHTTP
	}
	return status, nil
}
