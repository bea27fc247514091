package upstream

import "time"

// OutcomeKind is how a try, or a probe, of an endpoint ended.
type OutcomeKind uint8

// The kinds.
const (
	OutcomeNone      OutcomeKind = iota // says nothing of the endpoint: the client left, or a hook answered
	OutcomeStatus                       // a head came
	OutcomeConnect                      // no connection, or one that broke before a head came; TLS included
	OutcomeTimeout                      // connecting, sending or waiting for the head took too long
	OutcomeOvertaken                    // a hedge had an answer first: it took Latency at the least, and says nothing of health
)

// Outcome is what a try, or a probe, has shown of an endpoint.
type Outcome struct {
	Kind    OutcomeKind
	Status  int           // of the head
	Latency time.Duration // from the try's start to the head
}

// StatusSet is a set of HTTP statuses below 1024.
type StatusSet [16]uint64

// NewStatusSet returns the set of statuses.
func NewStatusSet(statuses []int) StatusSet {
	var s StatusSet
	for _, n := range statuses {
		if n >= 0 && n < len(s)*64 {
			s[n/64] |= 1 << (n % 64)
		}
	}
	return s
}

// Has reports whether the set holds a status.
func (s *StatusSet) Has(status int) bool {
	return status >= 0 && status < len(s)*64 && s[status/64]&(1<<(status%64)) != 0
}
