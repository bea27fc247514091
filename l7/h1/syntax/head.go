package syntax

import "bytes"

// FindRequestHead looks for the end of a request head in b, which starts at a
// message border, and skips empty lines in front of it. The head is
// b[start:end]; end is 0 while it is incomplete. A caller that then gathers
// more bytes behind b passes the old len(b) as from, so that nothing is scanned
// twice.
//
// What cannot become a head any more is refused while it is still incomplete:
// a client that never sends its end need not be waited for.
func FindRequestHead(b []byte, from int, lim *Limits) (start, end int, err error) {
	for start+1 < len(b) && b[start] == '\r' && b[start+1] == '\n' {
		start += 2
		if start > maxLeadingBytes {
			return start, 0, requestErrors[faultLeadingLines]
		}
	}
	end, f := findHead(b, start, from, lim.HeadBytes)
	if end == 0 && (f == faultNone || f == faultHeadTooLarge) && lineTooLong(b[start:], from-start, lim) {
		f = faultTargetTooLong
	}
	if f != faultNone {
		return start, 0, requestErrors[f]
	}
	return start, end, nil
}

// FindResponseHead is FindRequestHead for an upstream server's answer, which
// may have nothing in front of it: the head is b[:end].
func FindResponseHead(b []byte, from int, lim *Limits) (end int, err error) {
	end, f := findHead(b, 0, from, lim.HeadBytes)
	if f != faultNone {
		return 0, responseErrors[f]
	}
	return end, nil
}

// findHead goes from line end to line end. A complete head's other bytes are
// left to the parser, an incomplete one's are looked at here.
func findHead(b []byte, start, from, most int) (end int, f fault) {
	i := max(start, from-2)
	for {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			break
		}
		i += n
		if i == start || b[i-1] != '\r' {
			return 0, faultBareLF
		}
		if len(b)-i > 2 && b[i+1] == '\r' && b[i+2] == '\n' {
			if i+3-start > most {
				return 0, faultHeadTooLarge
			}
			return i + 3, faultNone
		}
		i++
	}
	// At least one byte is still to come.
	if len(b)-start >= most {
		return 0, faultHeadTooLarge
	}
	return 0, openFault(b[max(start, from-1):])
}

// openFault finds bytes that no head can hold in a part of an incomplete one.
// Line feeds have been checked before.
func openFault(b []byte) fault {
	for i, c := range b {
		if classes[c]&isValue != 0 || c == '\n' {
			continue
		}
		if c != '\r' {
			return faultControl
		}
		if i+1 < len(b) && b[i+1] != '\n' {
			return faultBareCR
		}
	}
	return faultNone
}

// lineTooLong reports whether the request line that b starts with is too long
// already. Its first seen bytes were asked about before.
func lineTooLong(b []byte, seen int, lim *Limits) bool {
	most := min(lim.lineBytes(), lim.HeadBytes)
	if len(b) < most || seen >= most {
		return false
	}
	return bytes.IndexByte(b[:most], '\n') < 0
}
