package policy

import (
	"crypto/rand"
	"crypto/tls"
	"time"
)

// Tickets derives the keys of session tickets (RFC 8446 section 4.6.1). Those of
// one period are derived from a secret, the period's number, and whose tickets
// they are: policy and ClientAuth.Key. So a ticket that was given under one
// policy is unreadable under another, and nodes with one secret read each
// other's. It is immutable.
type Tickets struct {
	secret []byte
	rotate time.Duration
}

// NewTickets returns the keys of a secret, "" for that of the process, and of
// periods of rotate.
func NewTickets(k *Keys, secret string, rotate time.Duration) *Tickets {
	return &Tickets{secret: k.root(secret), rotate: rotate}
}

// period returns the number of the period at a time.
func (t *Tickets) period(now time.Time) int64 { return period(now, t.rotate) }

// keys returns the keys in a period: the first is for new tickets, the others
// still open those of the period before, and those of nodes whose clock is
// ahead.
func (t *Tickets) keys(period int64, owner ...string) [][secretBytes]byte {
	const purpose = "session tickets"
	return [][secretBytes]byte{
		derive(t.secret, purpose, period, owner...),
		derive(t.secret, purpose, period-1, owner...),
		derive(t.secret, purpose, period+1, owner...),
	}
}

// ticketBytes is the most that a client's certificates may take in a ticket where
// Options say nothing.
const ticketBytes = 8 << 10

// noTicketBytes is the size of what stands in place of a ticket where there must be
// one: too little for any.
const noTicketBytes = 16

// wrapSmall returns a tls.Config's WrapSession that seals a ticket as cfg does, but
// gives none to clients whose certificates take more than most bytes: the hello by
// which they would come back would be longer than servers and what stands before
// them take. In TLS 1.3 a ticket is never empty (RFC 8446 section 4.6.1), so such a
// client gets one that opens nothing, and its next handshake is a full one.
func wrapSmall(cfg *tls.Config, most int) func(tls.ConnectionState, *tls.SessionState) ([]byte, error) {
	return func(st tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		size := 0
		for _, c := range st.PeerCertificates {
			size += len(c.Raw)
		}
		switch {
		case size <= most:
			return cfg.EncryptTicket(st, session)
		case st.Version < tls.VersionTLS13:
			return nil, nil // RFC 5077 section 3.3
		}
		nothing := make([]byte, noTicketBytes)
		_, _ = rand.Read(nothing) // never fails, by its documentation
		return nothing, nil
	}
}
