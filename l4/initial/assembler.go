package initial

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/bulwark-edge/bulwark/tls/hello"
)

// MinDatagram is the size of a datagram with an Initial packet of a client, at
// least (RFC 9000 section 14.1). Smaller ones are no part of a handshake.
const MinDatagram = 1200

const (
	// maxPackets is how many Initial packets a hello may take, those that are
	// sent again included. A hello of hello.MaxBytes takes 15. Packets that
	// cannot be decrypted do not count, or anyone could end the handshake of a
	// client whose address he knows.
	maxPackets = 48
	// maxSpans is how many pieces of a hello may lie apart from each other.
	// Browsers cut it into ten or so and shuffle them.
	maxSpans = 64
	// firstRoom is what most hellos fit into.
	firstRoom = 2 << 10
	// minClientID is the length of the id that a client makes up for its first
	// packet, at least (RFC 9000 section 7.2).
	minClientID = 8
)

var (
	// ErrNoInitial is the error about a datagram that brings no Initial packet
	// of the client's, or is too small for one.
	ErrNoInitial = errors.New("the datagram has no Initial packet of the client")
	// ErrTooMany is the error about a client that takes too many packets or
	// pieces for its hello.
	ErrTooMany = errors.New("the ClientHello comes in too many pieces")
)

// Assembler puts a client's ClientHello together from the Initial packets of
// one connection, which may come in any order and more than once. One goroutine
// uses it at a time. It holds at most hello.MaxBytes of the hello, and a copy of
// one packet. A hello of usual size costs 8 allocations, those for its Info
// included.
type Assembler struct {
	version uint32
	id      [maxID]byte // whose keys these are
	idLen   int
	opener  opener
	packets int // that were opened

	data  []byte // the hello, as far as it has come
	spans []span // what has come of it; in order, apart from each other
	room  [8]span
	need  int // how many bytes from the start are of use

	info *hello.Info
	err  error // from which there is no return
}

// span is a piece of the hello.
type span struct{ from, to int }

// NewAssembler returns an Assembler for packets whose keys stem from dcid (RFC
// 9001 section 5.2). That is the id which the client made up: the DCID of the
// connection's first Initial packet, and of no other, because the client puts
// the server's id into later ones and goes on with the same keys. A Retry packet
// begins anew: then it is the id which that brought, the DCID of the first
// Initial packet with its token.
//
// The error is ErrVersion for a version that is not understood, ErrMalformed for
// an id of over 20 bytes.
func NewAssembler(version uint32, dcid []byte) (*Assembler, error) {
	if len(dcid) > maxID {
		return nil, fault("a connection id is too long")
	}
	o, err := newOpener(version, dcid)
	if err != nil {
		return nil, err
	}
	a := &Assembler{version: version, idLen: len(dcid), opener: o}
	copy(a.id[:], dcid)
	a.spans = a.room[:0]
	return a, nil
}

// Add takes a datagram of the client, whole, and returns its hello once it is
// complete; until then nil. The datagram stays as it is.
//
// After ErrNoInitial and ErrDecrypt the datagram plays no part and the next may
// do better: anyone can have made it up. How long to go on so is for the caller
// to say. All other errors are about the client and stay: ErrMalformed,
// ErrTooMany, and those of hello.ParseQUIC.
func (a *Assembler) Add(datagram []byte) (*hello.Info, error) {
	if a.info != nil || a.err != nil {
		return a.info, a.err
	}
	if len(datagram) < MinDatagram {
		return nil, ErrNoInitial
	}
	first, err := ParseHeader(datagram, 0)
	if err != nil {
		return nil, ErrNoInitial
	}
	found, opened := false, false
	for h, rest := first, datagram; ; {
		if a.ours(&h, &first) {
			found = true
			switch err := a.packet(rest, &h); {
			case err == nil:
				opened = true
			case !errors.Is(err, ErrDecrypt):
				a.err = err
				a.drop()
				return nil, err
			}
		}
		if a.info != nil {
			a.drop()
			return a.info, nil
		}
		// What follows may be no packet at all but filling.
		if rest = rest[h.Size:]; len(rest) == 0 {
			break
		}
		if h, err = ParseHeader(rest, 0); err != nil {
			break
		}
	}
	switch {
	case !found:
		return nil, ErrNoInitial
	case !opened:
		return nil, ErrDecrypt
	}
	return nil, nil
}

// ours reports whether a packet is an Initial packet of this connection. Those
// behind the first of a datagram must be for the same id (RFC 9000 section
// 12.2).
func (a *Assembler) ours(h, first *Header) bool {
	if h.Type != TypeInitial || h.Version != a.version || !bytes.Equal(h.DCID, first.DCID) {
		return false
	}
	madeUp := len(h.Token) == 0 && bytes.Equal(h.DCID, a.id[:a.idLen])
	return !madeUp || len(h.DCID) >= minClientID
}

// packet opens a packet and takes from it what it has of the hello.
func (a *Assembler) packet(b []byte, h *Header) error {
	payload, err := a.opener.open(b, h)
	if err != nil {
		return err
	}
	if a.packets++; a.packets > maxPackets {
		return ErrTooMany
	}
	if err := frames(payload, a.insert); err != nil {
		return err
	}
	if len(a.spans) == 0 || a.spans[0].from > 0 || a.spans[0].to < a.need {
		return nil
	}
	info, size, err := hello.ParseQUIC(a.data[:a.spans[0].to])
	if err != nil {
		return fmt.Errorf("reading the handshake: %w", err)
	}
	a.info, a.need = info, size
	return nil
}

// insert puts a piece in its place. Where it lies over others it must be the
// same: RFC 9000 section 19.6 and 2.2.
func (a *Assembler) insert(offset uint64, piece []byte) error {
	if offset > hello.MaxBytes || len(piece) > hello.MaxBytes-int(offset) {
		return fmt.Errorf("reading the handshake: %w", hello.ErrTooLong)
	}
	if len(piece) == 0 {
		return nil
	}
	at := int(offset)
	all := span{at, at + len(piece)} // with those that it touches
	first := 0
	for first < len(a.spans) && a.spans[first].to < at {
		first++
	}
	last := first
	for ; last < len(a.spans) && a.spans[last].from <= at+len(piece); last++ {
		s := a.spans[last]
		from, to := max(s.from, at), min(s.to, at+len(piece))
		if !bytes.Equal(a.data[from:to], piece[from-at:to-at]) {
			return fault("the client says two things in the same place")
		}
		all.from, all.to = min(all.from, s.from), max(all.to, s.to)
	}
	a.extend(at + len(piece))
	copy(a.data[at:], piece)
	a.spans = slices.Replace(a.spans, first, last, all)
	if len(a.spans) > maxSpans {
		return ErrTooMany
	}
	return nil
}

// extend makes room for n bytes of the hello, at most hello.MaxBytes.
func (a *Assembler) extend(n int) {
	if n > cap(a.data) {
		data := make([]byte, len(a.data), min(max(n, 2*cap(a.data), firstRoom), hello.MaxBytes))
		copy(data, a.data)
		a.data = data
	}
	if n > len(a.data) {
		a.data = a.data[:n]
	}
}

// drop lets go of what is not needed any more.
func (a *Assembler) drop() {
	a.data, a.spans, a.opener = nil, nil, opener{}
}
