package stream

import (
	"net/netip"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/l4/initial"
	"github.com/bulwark-edge/bulwark/l4/udp"
)

// Connection ids that name flows. Those of clients have the length that RFC 9000
// section 7.2 wants. A shorter one of a server's would too often be found where
// it is not, and its clients go by their addresses.
const (
	minClientID = 8
	minServerID = 4
	maxID       = 20
)

// longHeader is the bit of a packet's first byte that tells its form (RFC 8999
// section 5).
const longHeader = 0x80

// quicIDs name flows of QUIC by connection ids. Servers choose those that
// clients send to, which are learned from the long headers of their answers
// (RFC 9000 section 7.2), Retry packets included. Further ones are told under
// encryption; they are learned once a client uses them at the address it had,
// having the length that the server's others have.
type quicIDs struct {
	lengths atomic.Uint32 // bit n: some server has ids of n bytes
}

var _ udp.Keyer = (*quicIDs)(nil)

// Names takes the id that a client's datagram is for. A short header does not
// tell its length.
func (q *quicIDs) Names(b []udp.Name, payload []byte) (names []udp.Name, begins bool) {
	if len(payload) == 0 {
		return b, false
	}
	if payload[0]&longHeader != 0 {
		h, err := initial.ParseHeader(payload, 0)
		if err != nil {
			return b, false
		}
		name, ok := udp.NameOf(h.DCID)
		if !ok {
			return b, false
		}
		begins = h.Type == initial.TypeInitial && len(h.DCID) >= minClientID && len(payload) >= initial.MinDatagram
		return append(b, name), begins
	}
	lengths := q.lengths.Load()
	for n := min(maxID, len(payload)-1); n >= minServerID; n-- {
		if lengths&(1<<n) != 0 {
			name, _ := udp.NameOf(payload[1 : 1+n])
			b = append(b, name)
		}
	}
	return b, false
}

// Begins opens the packet: some clients send the last of their Initial packets to
// an id that was told under encryption.
func (q *quicIDs) Begins(payload []byte) bool {
	h, err := initial.ParseHeader(payload, 0)
	if err != nil {
		return false
	}
	a, err := initial.NewAssembler(h.Version, h.DCID)
	if err != nil {
		return false
	}
	_, err = a.Add(payload)
	return !noPart(err)
}

// Unnamed learns an id that a client uses at its flow's own address.
func (q *quicIDs) Unnamed(f *udp.Flow, payload []byte) {
	st, ok := f.Cookie.(*stream)
	if !ok || st.idLen == 0 || len(payload) <= st.idLen || payload[0]&longHeader != 0 {
		return
	}
	name, _ := udp.NameOf(payload[1 : 1+st.idLen])
	f.AddName(name)
}

// Moved lets a flow follow its client once the handshake is over: before that
// none may move (RFC 9000 section 9). Whoever forges a datagram of the client's
// gets the answers, until the client's next one; they are encrypted.
func (q *quicIDs) Moved(_ *udp.Flow, _ netip.AddrPort, payload []byte) bool {
	return len(payload) > 0 && payload[0]&longHeader == 0
}

// Answer learns the id of a server.
func (q *quicIDs) Answer(f *udp.Flow, payload []byte) {
	if len(payload) == 0 || payload[0]&longHeader == 0 {
		return
	}
	st, ok := f.Cookie.(*stream)
	h, err := initial.ParseHeader(payload, 0)
	if !ok || err != nil || h.Type == initial.TypeVersionNegotiation || h.Type == initial.TypeUnknown || len(h.SCID) < minServerID {
		return
	}
	st.idLen = len(h.SCID)
	q.lengths.Or(1 << len(h.SCID))
	name, _ := udp.NameOf(h.SCID)
	f.AddName(name)
}
