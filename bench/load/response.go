package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Bounds of an answer.
const (
	// readBuffer is the size of a connection's buffer, which also bounds an
	// answer's head and each line of its chunk framing.
	readBuffer = 16 << 10
	// maxInterim is how many 1xx answers may precede the final one.
	maxInterim = 16
	// maxTrailer is how many trailer lines are skipped.
	maxTrailer = 256
)

// errProtocol is wrapped by errors about an answer that is not HTTP/1.1.
var errProtocol = errors.New("malformed answer")

// head is what matters of an answer's head.
type head struct {
	status  int
	length  int64 // Content-Length; -1 if there is none.
	chunked bool
	close   bool // The server will close the connection after this answer.
}

// parseHead reads an answer's head from the start of b. It returns 0 for n when
// the head is not complete yet, else its length with the empty line.
func parseHead(b []byte) (h head, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return head{}, 0, nil
	}
	n = end + 4
	line, rest := cutLine(b[:end+2])
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return head{}, 0, fmt.Errorf("%w: status line %.40q", errProtocol, line)
	}
	h = head{length: -1, close: line[7] == '0'}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return head{}, 0, fmt.Errorf("%w: status line %.40q", errProtocol, line)
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 {
		return head{}, 0, fmt.Errorf("%w: status %d", errProtocol, h.status)
	}
	for len(rest) > 0 {
		line, rest = cutLine(rest)
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return head{}, 0, fmt.Errorf("%w: header line %.40q", errProtocol, line)
		}
		if err := h.field(line[:colon], bytes.TrimSpace(line[colon+1:])); err != nil {
			return head{}, 0, err
		}
	}
	return h, n, nil
}

// field notes the three fields that frame an answer; comparing lengths first
// spares the others.
func (h *head) field(name, value []byte) error {
	switch len(name) {
	case len("Connection"):
		if bytes.EqualFold(name, []byte("Connection")) {
			if bytes.EqualFold(value, []byte("close")) {
				h.close = true
			} else if bytes.EqualFold(value, []byte("keep-alive")) {
				h.close = false
			}
		}
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, ok := parseInt(value, 10)
			if !ok || h.length >= 0 && h.length != n {
				return fmt.Errorf("%w: Content-Length %.40q", errProtocol, value)
			}
			h.length = n
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			if !bytes.EqualFold(value, []byte("chunked")) {
				return fmt.Errorf("%w: Transfer-Encoding %.40q", errProtocol, value)
			}
			h.chunked = true
		}
	}
	return nil
}

// cutLine returns the first line of b, which ends with CRLF, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.Index(b, []byte("\r\n"))
	return b[:i], b[i+2:]
}

// parseInt reads an unsigned number of base 10 or 16 without sign or space.
func parseInt(b []byte, base int64) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	for _, c := range b {
		d := int64(99)
		switch {
		case c >= '0' && c <= '9':
			d = int64(c - '0')
		case c >= 'a' && c <= 'f':
			d = int64(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = int64(c-'A') + 10
		}
		if d >= base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}

// reader takes answers off one connection. Its errors are those of src, io.EOF
// included, or wrap errProtocol.
type reader struct {
	src  io.Reader
	buf  []byte // buf[r:w] has been read and not consumed.
	r, w int
	read int64 // Bytes taken from src, never reset.
}

// answer reads one final answer to its end and throws the body away. keep says
// whether the connection may carry another exchange.
func (rd *reader) answer(headOnly bool) (status int, keep bool, err error) {
	for range maxInterim {
		h, err := rd.readHead()
		if err != nil {
			return 0, false, err
		}
		if h.status == 101 {
			return 0, false, fmt.Errorf("%w: status 101 without an upgrade", errProtocol)
		}
		if h.status < 200 {
			continue
		}
		switch {
		case headOnly || h.status == 204 || h.status == 304:
		case h.chunked:
			err = rd.skipChunks()
		case h.length >= 0:
			err = rd.skip(h.length)
		default:
			h.close = true
			err = rd.skipToEOF()
		}
		return h.status, !h.close && rd.r == rd.w, err
	}
	return 0, false, fmt.Errorf("%w: more than %d interim answers", errProtocol, maxInterim)
}

func (rd *reader) readHead() (head, error) {
	for {
		if rd.w > rd.r {
			h, n, err := parseHead(rd.buf[rd.r:rd.w])
			if err != nil || n > 0 {
				rd.r += n
				return h, err
			}
		}
		if err := rd.fill(); err != nil {
			if rd.w > rd.r {
				err = unexpected(err)
			}
			return head{}, err
		}
	}
}

// fill reads more bytes behind those already held.
func (rd *reader) fill() error {
	if rd.r == rd.w {
		rd.r, rd.w = 0, 0
	}
	if rd.w == len(rd.buf) {
		if rd.r == 0 {
			return fmt.Errorf("%w: head or chunk line over %d bytes", errProtocol, len(rd.buf))
		}
		rd.w = copy(rd.buf, rd.buf[rd.r:rd.w])
		rd.r = 0
	}
	n, err := rd.src.Read(rd.buf[rd.w:])
	rd.w += n
	rd.read += int64(n)
	if n > 0 {
		return nil
	}
	return err
}

// skip drops n bytes of body.
func (rd *reader) skip(n int64) error {
	for {
		k := min(n, int64(rd.w-rd.r))
		rd.r += int(k)
		if n -= k; n == 0 {
			return nil
		}
		if err := rd.fill(); err != nil {
			return unexpected(err)
		}
	}
}

func (rd *reader) skipToEOF() error {
	for {
		rd.r = rd.w
		if err := rd.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

func (rd *reader) skipChunks() error {
	for {
		line, err := rd.line()
		if err != nil {
			return err
		}
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, ok := parseInt(bytes.TrimRight(digits, " \t"), 16)
		if !ok {
			return fmt.Errorf("%w: chunk size %.40q", errProtocol, line)
		}
		if size == 0 {
			return rd.skipTrailer()
		}
		if err := rd.skip(size); err != nil {
			return err
		}
		if line, err = rd.line(); err != nil {
			return err
		}
		if len(line) != 0 {
			return fmt.Errorf("%w: chunk longer than its size", errProtocol)
		}
	}
}

func (rd *reader) skipTrailer() error {
	for range maxTrailer {
		line, err := rd.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d trailer lines", errProtocol, maxTrailer)
}

// line returns the next line without its CRLF; it is valid until the next read.
func (rd *reader) line() ([]byte, error) {
	for {
		if i := bytes.Index(rd.buf[rd.r:rd.w], []byte("\r\n")); i >= 0 {
			line := rd.buf[rd.r : rd.r+i]
			rd.r += i + 2
			return line, nil
		}
		if err := rd.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// unexpected turns an end of stream inside an answer into io.ErrUnexpectedEOF.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
