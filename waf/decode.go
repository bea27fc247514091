package waf

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Bounds of decoding.
const (
	decodedRatio = 100      // decoded bytes for each encoded one, beyond ...
	ratioFloor   = 64 << 10 // ... decoded bytes that any content may come to
	maxCodings   = 2        // one within the other
	maxWindow    = 8 << 20  // bytes that a zstd frame may ask to look back (RFC 9659)
)

// Why content is not decoded. What is wrong with the bytes is another error.
var (
	ErrCoding       = errors.New("the content coding is unknown, or there are too many")
	ErrDecodedRatio = errors.New("the content expands more than a hundredfold")
	ErrHidden       = errors.New("the content has bytes that decode to nothing") // which an upstream may look at
)

// codings returns the content codings of a Content-Encoding field, the one that
// was applied last first, without "identity".
func codings(encoding string) ([]string, error) {
	var list []string
	for c := range strings.SplitSeq(encoding, ",") {
		switch c = strings.ToLower(strings.TrimSpace(c)); c {
		case "", "identity":
		case "gzip", "x-gzip", "deflate", "br", "zstd":
			list = append([]string{c}, list...)
		default:
			return nil, ErrCoding
		}
	}
	if len(list) > maxCodings {
		return nil, ErrCoding
	}
	return list, nil
}

// CanDecode reports whether content of that Content-Encoding can be decoded.
func CanDecode(encoding string) bool {
	_, err := codings(encoding)
	return err == nil
}

// Decode undoes the content codings of a Content-Encoding field: gzip, deflate,
// br, zstd. It gives at most limit bytes; whole is false if there were more.
// ErrCoding and ErrDecodedRatio tell what kept it from decoding, ErrHidden that there
// is more in b than out; with the latter two and with an error of the bytes, which
// is io.ErrUnexpectedEOF for a beginning of encoded content, out is what was decoded so far. b is not kept, and is the result if
// there is nothing to undo.
func Decode(encodings string, b []byte, limit int64) (out []byte, whole bool, err error) {
	list, err := codings(encodings)
	if err != nil {
		return nil, false, err
	}
	encoded := int64(len(b))
	whole = true
	for n, c := range list {
		if !whole {
			return nil, false, ErrDecodedRatio // what is within would end in its middle
		}
		if b, whole, err = decodeOne(b, c, encoded, limit); err != nil {
			if n < len(list)-1 {
				b = nil // it is still encoded
			}
			return b, false, fmt.Errorf("decoding content of the coding %q: %w", c, err)
		}
	}
	if int64(len(b)) > limit {
		return b[:limit], false, nil
	}
	return b, whole, nil
}

// decodeOne undoes one coding. encoded is the length of what was sent.
func decodeOne(b []byte, coding string, encoded, limit int64) (out []byte, whole bool, err error) {
	most := min(limit, max(encoded*decodedRatio, ratioFloor))
	if coding == "deflate" && ambiguous(b, most) {
		return nil, false, errAmbiguous
	}
	if coding == "gzip" || coding == "x-gzip" {
		return gunzip(b, most, limit)
	}
	hidden := coding == "zstd" && skipsFrames(b)
	in := bytes.NewReader(b)
	r, done, err := decoder(in, coding)
	if err != nil {
		return nil, false, err
	}
	defer done()
	var buf bytes.Buffer
	_, err = io.Copy(&buf, io.LimitReader(r, most+1))
	if err == nil && int64(buf.Len()) <= most && (hidden || in.Len() > 0) {
		err = ErrHidden
	}
	return decoded(&buf, most, limit, err)
}

// decoded returns what was decoded, of which there is more than most if reading
// was stopped.
func decoded(buf *bytes.Buffer, most, limit int64, err error) ([]byte, bool, error) {
	over := int64(buf.Len()) > most
	if over {
		buf.Truncate(int(most))
	}
	if over && err == nil && most < limit {
		err = ErrDecodedRatio
	}
	return buf.Bytes(), !over && err == nil, err
}

// gunzip undoes gzip, member by member: what their heads may carry is none of the
// content (RFC 1952 section 2.3.1).
func gunzip(b []byte, most, limit int64) ([]byte, bool, error) {
	in := bytes.NewReader(b)
	r, err := gzip.NewReader(in)
	if err != nil {
		return nil, false, err
	}
	var buf bytes.Buffer
	hidden := false
	for err == nil {
		hidden = hidden || r.Name != "" || r.Comment != "" || r.Extra != nil
		r.Multistream(false)
		if _, err = io.Copy(&buf, io.LimitReader(r, most+1-int64(buf.Len()))); err != nil || int64(buf.Len()) > most || in.Len() == 0 {
			break
		}
		if err = r.Reset(in); errors.Is(err, gzip.ErrHeader) {
			hidden = true // what follows is no member
		}
	}
	if hidden {
		err = ErrHidden
	}
	return decoded(&buf, most, limit, err)
}

// skipsFrames reports whether there is a skippable frame among those of zstd (RFC
// 8878 section 3.1.2), as far as b goes. What is no frame is the decoder's to refuse.
func skipsFrames(b []byte) bool {
	for len(b) > 0 {
		var h zstd.Header
		if err := h.Decode(b); err != nil {
			return false
		}
		if h.Skippable {
			return true
		}
		b = b[min(h.HeaderSize, len(b)):]
		for last := false; !last; {
			if len(b) < 3 {
				return false
			}
			head := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
			size := head >> 3
			if head>>1&3 == 1 {
				size = 1 // one byte, repeated
			}
			last, b = head&1 == 1, b[min(3+size, len(b)):]
		}
		if h.HasCheckSum {
			b = b[min(4, len(b)):]
		}
	}
	return false
}

var errAmbiguous = errors.New("the content can be read with zlib's frame and without it")

// ambiguous reports whether content of the coding deflate comes to something
// both with zlib's frame, as it should, and without: the upstream may then read
// another content than the rules have seen.
func ambiguous(b []byte, most int64) bool {
	framed, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(framed, most)); err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, io.LimitReader(flate.NewReader(bytes.NewReader(b)), most))
	return err == nil
}

// decoder returns a reader of what was encoded, and what ends it.
func decoder(in *bytes.Reader, coding string) (io.Reader, func(), error) {
	nothing := func() {}
	switch coding {
	case "deflate":
		// It should be zlib's format (RFC 9110 section 8.4.1.2); what is sent is
		// often without the frame, which every server takes.
		if r, err := zlib.NewReader(in); err == nil {
			return r, nothing, nil
		}
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			return nil, nothing, err
		}
		return flate.NewReader(in), nothing, nil
	case "br":
		return brotli.NewReader(in), nothing, nil
	}
	r, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, nothing, err
	}
	return r, r.Close, nil
}
