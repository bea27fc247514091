package syntax

import "github.com/bulwark-edge/bulwark/l7"

// ChunkDecoder takes the chunked coding (RFC 9112 section 7.1) off a body, in
// whatever pieces the body arrives. It holds no content. Reset makes it ready;
// it is not safe for concurrent use.
type ChunkDecoder struct {
	lim  Limits
	side l7.Side

	state     chunkState
	digits    int    // of the size being read
	remaining uint64 // the size being read, then the bytes of data still to come
	extension int    // bytes of extensions of this chunk
	extended  int    // bytes of extensions of all chunks before
	failed    fault

	section []byte // the trailer section so far
	trailer l7.Header
}

// chunkState is what is expected next.
type chunkState uint8

const (
	chunkSize chunkState = iota // a digit of the size, or what ends it
	chunkName                   // a first byte of an extension's name
	chunkNameMore
	chunkValue // a first byte of an extension's value
	chunkToken
	chunkQuoted
	chunkPair // the byte behind a backslash
	chunkQuotedEnd
	chunkLineLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer // a first byte of a trailer line, or the final CR
	chunkTrailerMore
	chunkTrailerLF
	chunkFinalLF
	chunkDone
	chunkFailed
)

// Reset makes d ready for a new body, sent by side, and keeps its storage.
func (d *ChunkDecoder) Reset(side l7.Side, lim *Limits) {
	section, trailer := d.section[:0], d.trailer
	trailer.Reset()
	*d = ChunkDecoder{lim: *lim, side: side, section: section, trailer: trailer}
}

// Next decodes from b, the next bytes of the body. It returns at the first
// piece of content: data is a part of b, and consumed counts it and all before
// it. Without data either all of b is consumed and more is needed, or the body
// is done and what follows in b is not part of it.
//
// An error is final. It blames the side given to Reset.
func (d *ChunkDecoder) Next(b []byte) (data []byte, consumed int, err error) {
	for consumed < len(b) {
		switch d.state {
		case chunkData:
			n := len(b) - consumed
			if uint64(n) >= d.remaining {
				n, d.state = int(d.remaining), chunkDataCR
			}
			d.remaining -= uint64(n)
			return b[consumed : consumed+n], consumed + n, nil
		case chunkDone:
			return nil, consumed, nil
		}
		if f := d.step(b[consumed]); f != faultNone {
			d.state, d.failed = chunkFailed, f
			break
		}
		consumed++
	}
	if d.state == chunkFailed {
		return nil, consumed, d.err(d.failed)
	}
	return nil, consumed, nil
}

// Done reports whether the body has ended, trailer section included.
func (d *ChunkDecoder) Done() bool { return d.state == chunkDone }

// Trailer returns the trailer fields once the body is done. It is the decoder's
// own and valid until Reset.
func (d *ChunkDecoder) Trailer() *l7.Header { return &d.trailer }

// step takes one byte that is not data.
func (d *ChunkDecoder) step(c byte) fault {
	switch d.state {
	case chunkSize:
		return d.stepSize(c)
	case chunkLineLF:
		return d.stepLineEnd(c)
	case chunkDataCR:
		d.state = chunkDataLF
		if c != '\r' {
			return faultChunkDataEnd
		}
	case chunkDataLF:
		d.state = chunkSize
		d.remaining, d.digits = 0, 0
		if c != '\n' {
			return faultChunkDataEnd
		}
	case chunkTrailer, chunkTrailerMore, chunkTrailerLF, chunkFinalLF:
		return d.stepTrailer(c)
	case chunkFailed:
		return d.failed
	default:
		return d.stepExtension(c)
	}
	return faultNone
}

// stepSize takes a byte of the size, or the one behind it.
func (d *ChunkDecoder) stepSize(c byte) fault {
	if classes[c]&isHex != 0 {
		d.digits++
		if d.digits > maxChunkDigits {
			return faultChunkSize
		}
		d.remaining = d.remaining<<4 | uint64(hexDigit(c))
		return faultNone
	}
	if d.digits == 0 {
		return faultChunkSize
	}
	if d.remaining > maxChunkSize {
		return faultChunkTooLarge
	}
	switch c {
	case '\r':
		d.state = chunkLineLF
	case ';':
		return d.startExtension()
	case '\n':
		return faultChunkLineEnd
	default:
		return faultChunkSize
	}
	return faultNone
}

// stepLineEnd takes the LF of a size line.
func (d *ChunkDecoder) stepLineEnd(c byte) fault {
	if c != '\n' {
		return faultChunkLineEnd
	}
	d.extended += d.extension
	d.extension = 0
	if d.remaining == 0 {
		d.state = chunkTrailer
	} else {
		d.state = chunkData
	}
	return faultNone
}

// startExtension takes the semicolon.
func (d *ChunkDecoder) startExtension() fault {
	d.state = chunkName
	return d.countExtension()
}

func (d *ChunkDecoder) countExtension() fault {
	d.extension++
	most := d.lim.ChunkExtensionBytes
	if d.extension > most || d.extended+d.extension > extensionBudget*most {
		return faultChunkExtensionTooLong
	}
	return faultNone
}

// stepExtension takes a byte behind the first semicolon: a name, perhaps "="
// and a token or quoted string, and so on (RFC 9112 section 7.1.1).
func (d *ChunkDecoder) stepExtension(c byte) fault {
	class := classes[c]
	next := d.state
	switch d.state {
	case chunkName:
		if class&isToken != 0 {
			next = chunkNameMore
		} else {
			return faultChunkExtension
		}
	case chunkNameMore:
		if c == '=' {
			next = chunkValue
		} else if class&isToken == 0 {
			return d.endExtension(c)
		}
	case chunkValue:
		switch {
		case c == '"':
			next = chunkQuoted
		case class&isToken != 0:
			next = chunkToken
		default:
			return faultChunkExtension
		}
	case chunkToken:
		if class&isToken == 0 {
			return d.endExtension(c)
		}
	case chunkQuoted:
		switch {
		case c == '"':
			next = chunkQuotedEnd
		case c == '\\':
			next = chunkPair
		case class&isQuoted == 0:
			return faultChunkExtension
		}
	case chunkPair:
		if class&isValue == 0 {
			return faultChunkExtension
		}
		next = chunkQuoted
	case chunkQuotedEnd:
		return d.endExtension(c)
	}
	d.state = next
	return d.countExtension()
}

// endExtension takes a byte behind a complete extension.
func (d *ChunkDecoder) endExtension(c byte) fault {
	switch c {
	case ';':
		return d.startExtension()
	case '\r':
		d.state = chunkLineLF
		return faultNone
	case '\n':
		return faultChunkLineEnd
	}
	return faultChunkExtension
}

// stepTrailer takes a byte of the trailer section, and parses it at its end.
func (d *ChunkDecoder) stepTrailer(c byte) fault {
	switch d.state {
	case chunkTrailer:
		if c == '\r' {
			d.state = chunkFinalLF
			return faultNone
		}
		d.state = chunkTrailerMore
		fallthrough
	case chunkTrailerMore:
		if c == '\r' {
			d.state = chunkTrailerLF
		} else if classes[c]&isValue == 0 {
			return byteFault(c)
		}
	case chunkTrailerLF:
		if c != '\n' {
			return faultBareCR
		}
		d.state = chunkTrailer
	case chunkFinalLF:
		if c != '\n' {
			return faultBareCR
		}
		d.state = chunkDone
		return parseTrailer(string(d.section), d.lim.Fields, &d.trailer)
	}
	if len(d.section) >= d.lim.TrailerBytes {
		return faultTrailerTooLarge
	}
	d.section = append(d.section, c)
	return faultNone
}

func (d *ChunkDecoder) err(f fault) error {
	if d.side == l7.SideUpstream {
		return responseErrors[f]
	}
	return requestErrors[f]
}

// hexDigit returns the value of a hexadecimal digit.
func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
