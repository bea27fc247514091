package h2

import (
	"net/http"
	"strconv"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// frameHead is the length of a frame's header (RFC 9113 section 4.1).
const frameHead = 9

// maxFrame is the largest payload that is sent, and that may be received: what
// every peer takes.
const maxFrame = 16 << 10

// appendFrame appends the header of a frame whose payload of n bytes follows.
func appendFrame(b []byte, kind http2.FrameType, flags http2.Flags, id uint32, n int) []byte {
	return append(b, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags), byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendUint32(b []byte, v uint32) []byte {
	return append(b, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func appendReset(b []byte, id uint32, code http2.ErrCode) []byte {
	return appendUint32(appendFrame(b, http2.FrameRSTStream, 0, id, 4), uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode) []byte {
	b = appendFrame(b, http2.FrameGoAway, 0, 0, 8)
	return appendUint32(appendUint32(b, last), uint32(code))
}

// appendWindow appends a WINDOW_UPDATE of the stream id, or of the connection.
func appendWindow(b []byte, id uint32, n int) []byte {
	return appendUint32(appendFrame(b, http2.FrameWindowUpdate, 0, id, 4), uint32(n))
}

func appendSetting(b []byte, id http2.SettingID, v uint32) []byte {
	return appendUint32(append(b, byte(id>>8), byte(id)), v)
}

// fieldIndexes are the places of names in HPACK's static table (RFC 7541
// appendix A); 0: it does not stand there.
var fieldIndexes = [...]byte{
	l7.FieldContentEncoding:    26,
	l7.FieldContentLength:      28,
	l7.FieldContentType:        31,
	l7.FieldDate:               33,
	l7.FieldLocation:           46,
	l7.FieldProxyAuthenticate:  48,
	l7.FieldServer:             54,
	l7.FieldSetCookie:          55,
	l7.FieldVia:                60,
	l7.FieldXKongRequestID:     0,
	l7.FieldXForwardedProto:    0,
	l7.FieldTransferEncoding:   57,
	l7.FieldProxyAuthorization: 49,
}

// appendStatus appends the pseudo-header field of an answer.
func appendStatus(b []byte, status int) []byte {
	switch status {
	case http.StatusOK:
		return append(b, 0x80|8)
	case http.StatusNoContent:
		return append(b, 0x80|9)
	case http.StatusPartialContent:
		return append(b, 0x80|10)
	case http.StatusNotModified:
		return append(b, 0x80|11)
	case http.StatusBadRequest:
		return append(b, 0x80|12)
	case http.StatusNotFound:
		return append(b, 0x80|13)
	case http.StatusInternalServerError:
		return append(b, 0x80|14)
	}
	return strconv.AppendInt(append(b, 8, 3), int64(status), 10)
}

// appendField appends a field as a literal that no table takes up (RFC 7541
// section 6.2.2), its name in lower case. Set-Cookie is marked as one that no
// proxy's table may take up either.
func appendField(b []byte, id l7.FieldID, name, value string) []byte {
	kind := byte(0)
	if id == l7.FieldSetCookie {
		kind = 0x10
	}
	index := byte(0)
	if int(id) < len(fieldIndexes) {
		index = fieldIndexes[id]
	}
	switch {
	case index == 0:
		b = appendInteger(append(b, kind), 0x7f, len(name))
		for i := range len(name) {
			c := name[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
	case index < 15:
		b = append(b, kind|index)
	default:
		b = append(b, kind|15, index-15)
	}
	return append(appendInteger(b, 0x7f, len(value)), value...)
}

func appendLength(b []byte, n int64) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	b = append(b, 15, 28-15, byte(len(text)))
	return append(b, text...)
}

// appendInteger appends the integer of a length (RFC 7541 section 5.1), of
// which prefix is what the first byte can hold.
func appendInteger(b []byte, prefix, n int) []byte {
	if n < prefix {
		return append(b, byte(n))
	}
	b = append(b, byte(prefix))
	for n -= prefix; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// forwarded reports whether a field of an answer stands in a message of HTTP/2
// as it is: those of the connection do not (RFC 9113 section 8.2.2), and the
// length is the engine's.
func forwarded(id l7.FieldID) bool {
	switch id {
	case l7.FieldConnection, l7.FieldKeepAlive, l7.FieldProxyConnection, l7.FieldTransferEncoding,
		l7.FieldContentLength, l7.FieldTE, l7.FieldHTTP2Settings, l7.FieldTrailer, l7.FieldUpgrade:
		return false
	}
	return true
}

// appendHeaders appends the frames of a header block that stands behind room for
// the first one's header at b[at:].
func frameHeaders(b []byte, at int, id uint32, flags http2.Flags) []byte {
	block := b[at+frameHead:]
	first := min(len(block), maxFrame)
	if first == len(block) {
		flags |= http2.FlagHeadersEndHeaders
	}
	appendFrame(b[:at], http2.FrameHeaders, flags, id, first)
	if first == len(block) {
		return b
	}
	rest := append([]byte(nil), block[first:]...) // a head this large is rare
	b = b[:at+frameHead+first]
	for len(rest) > 0 {
		n := min(len(rest), maxFrame)
		flags = 0
		if n == len(rest) {
			flags = http2.FlagContinuationEndHeaders
		}
		b = append(appendFrame(b, http2.FrameContinuation, flags, id, n), rest[:n]...)
		rest = rest[n:]
	}
	return b
}
