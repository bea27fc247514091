package hello

import "errors"

// MaxBytes is how many bytes of a connection, or of a QUIC handshake, a hello
// may end within. Hellos with post-quantum keys take some 2 KiB.
const MaxBytes = 16 << 10

var (
	// ErrNotTLS is the error about bytes that do not begin a TLS connection,
	// such as a request in plain HTTP.
	ErrNotTLS = errors.New("not TLS")
	// ErrTooLong is the error about a hello that needs more than MaxBytes.
	ErrTooLong = errors.New("the ClientHello is too long")
	// ErrServerName is the error about a hello whose server name is not a host
	// name.
	ErrServerName = errors.New("the server name is not a host name")
	// ErrMalformed is wrapped by what else is wrong with a hello.
	ErrMalformed = errors.New("malformed ClientHello")
)

// fault is a broken rule of the message or of the records that carry it.
type fault string

func (f fault) Error() string { return ErrMalformed.Error() + ": " + string(f) }

func (fault) Unwrap() error { return ErrMalformed }

const (
	recordHead      = 5       // content type, version, length
	maxRecord       = 1 << 14 // bytes of a record's content (RFC 8446 section 5.1)
	contentChange   = 20      // the first of the content types of TLS
	contentRecord   = 22      // a handshake
	contentLast     = 24
	messageHead     = 4 // type and length
	typeClientHello = 1
)

// Parse parses the ClientHello that a connection's bytes begin with. size is
// where it ends; if it is greater than len(b), at least so many bytes are needed
// and info is nil. It never asks for a byte behind the hello, and an error stays
// the same whatever follows. The hello may come in any number of records; what
// follows it is not looked at.
//
// The errors are ErrNotTLS, ErrTooLong, ErrServerName and ErrMalformed.
// Parsing makes 2 allocations, and another for a hello in several records or
// with more than four application protocols.
func Parse(b []byte) (info *Info, size int, err error) {
	var (
		head  [messageHead]byte // the message's, gathered from the records
		have  int               // bytes of the message in the records before pos
		total = messageHead     // bytes of the message, as far as they are known
	)
	for pos := 0; ; {
		n, err := parseRecordHead(b[pos:], pos == 0)
		if err != nil {
			return nil, 0, err
		}
		if n == 0 { // a record has at least one byte (RFC 8446 section 5.1)
			return nil, pos + recordHead + 1, nil
		}
		pos += recordHead
		content := b[pos:min(pos+n, len(b))]
		if have < messageHead {
			seen := have + copy(head[have:], content)
			if total, err = messageSize(head[:seen]); err != nil {
				return nil, 0, err
			}
		}
		end := pos + total - have // if the record holds the rest of it
		if total-have > n {
			end = pos + n + recordHead + 1
		}
		switch {
		case end > MaxBytes:
			return nil, 0, ErrTooLong
		case end > len(b) && len(content) < n:
			return nil, end, nil
		case total-have <= n && total > messageHead:
			if info, err = parseMessage(join(b, total, pos, have)); err != nil {
				return nil, 0, err
			}
			return info, end, nil
		}
		have += n
		pos += n
	}
}

// ParseQUIC parses the ClientHello that the bytes of a QUIC client's handshake
// begin with, those of its CRYPTO frames (RFC 9001 section 4): there are no
// records. Else it is as Parse, and holds the hello to what RFC 9001 asks
// besides.
func ParseQUIC(b []byte) (info *Info, size int, err error) {
	size, err = messageSize(b[:min(len(b), messageHead)])
	switch {
	case err != nil:
		return nil, 0, err
	case size > MaxBytes:
		return nil, 0, ErrTooLong
	case size > len(b):
		return nil, size, nil
	}
	if info, err = parseMessage(b[:size]); err != nil {
		return nil, 0, err
	}
	info.QUIC = true
	switch {
	case !info.Versions.Has(version13): // RFC 9001 section 4.2
		return nil, 0, fault("it comes by QUIC and does not offer TLS 1.3")
	case info.SessionIDLen > 0: // RFC 9001 section 8.4
		return nil, 0, fault("it comes by QUIC and has a session id")
	case !info.Extensions.Has(extTransportParameters): // RFC 9001 section 8.2
		return nil, 0, fault("it comes by QUIC without transport parameters")
	}
	return info, size, nil
}

// parseRecordHead parses as much as there is of a record's head and returns the
// length of the record's content; 0 if the head is not complete.
func parseRecordHead(b []byte, first bool) (n int, err error) {
	if len(b) > 0 && b[0] != contentRecord {
		switch {
		case !first:
			return 0, fault("the handshake is interrupted by another record")
		case b[0] < contentChange || b[0] > contentLast:
			return 0, ErrNotTLS
		}
		return 0, fault("the first record is no handshake")
	}
	// The rest of the version says nothing (RFC 8446 appendix D).
	if len(b) > 1 && b[1] != 3 {
		return 0, fault("a record is of no version of TLS")
	}
	if len(b) < recordHead {
		return 0, nil
	}
	switch n = int(b[3])<<8 | int(b[4]); {
	case n == 0:
		return 0, fault("a record is empty")
	case n > maxRecord:
		return 0, fault("a record is longer than 16 KiB")
	}
	return n, nil
}

// messageSize returns how long a message is of whose head as much is given as
// there is: at least the head's length, as long as the head is not complete.
func messageSize(head []byte) (int, error) {
	if len(head) > 0 && head[0] != typeClientHello {
		return 0, fault("the first message is no ClientHello")
	}
	if len(head) < messageHead {
		return messageHead, nil
	}
	n := int(head[1])<<16 | int(head[2])<<8 | int(head[3])
	if n == 0 {
		return 0, faultCut
	}
	return messageHead + n, nil
}

// join returns the message of total bytes, of which the last record begins at
// pos and lacks the have bytes that the records before it hold. It was found to
// be there as a whole.
func join(b []byte, total, pos, have int) []byte {
	if have == 0 {
		return b[pos : pos+total]
	}
	msg := make([]byte, 0, total)
	for len(msg) < have {
		n := int(b[3])<<8 | int(b[4])
		msg = append(msg, b[recordHead:recordHead+n]...)
		b = b[recordHead+n:]
	}
	return append(msg, b[recordHead:recordHead+total-have]...)
}
