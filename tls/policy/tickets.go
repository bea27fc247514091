package policy

import "time"

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
