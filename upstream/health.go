package upstream

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// CheckRules say which outcomes make an endpoint healthy or unhealthy. A count
// of 0 means never (Kong's healthchecks.active and .passive).
type CheckRules struct {
	Successes    int // in a row that make it healthy
	HTTPFailures int // in a row, by status, that make it unhealthy
	TCPFailures  int
	Timeouts     int
	Healthy      StatusSet // a status in neither set is ignored, but 0 is a failure: the answer was none
	Unhealthy    StatusSet
	AnyStatus    bool // any answer is a success, whatever its status (types tcp and udp)
}

// Checks say how endpoints are found to be healthy or not.
type Checks struct {
	Active  CheckRules
	Passive CheckRules

	// On says that any check is. Without one every endpoint counts as healthy.
	On bool
	// Threshold is the percentage of healthy weight at or below which the
	// whole balancer is unhealthy.
	Threshold float64
}

// health is what is known of an endpoint's health. It belongs to an upstream,
// target and address, and outlives reloads. Safe for concurrent use.
//
// flags is read by every pick and report. It is zero while there is nothing to
// know: the endpoint is healthy and has no count that a success would reset.
type health struct {
	flags     atomic.Uint32
	recovered atomic.Int64 // now when it became healthy again, for slow start; 0: long ago

	mu        sync.Mutex // guards what follows and every write of flags
	successes int
	failures  [2][failureKinds]int // of traffic and of probes, by failureKind
	since     int64                // now of the last change; 0: none
	why       cause                // of the last change
}

// Bits of health.flags.
const (
	flagUnhealthy uint32 = 1 << iota
	flagTraffic          // failures of traffic are counted
	flagProbes           // failures of probes are
)

type failureKind int

const (
	failureHTTP failureKind = iota
	failureTCP
	failureTimeout
	failureKinds
)

// cause is the outcome that changed an endpoint's health.
type cause struct {
	outcome Outcome
	active  bool
	count   int
}

// String returns the cause for people.
func (c cause) String() string {
	if c.count == 0 {
		return ""
	}
	what := "connection failures"
	switch c.outcome.Kind {
	case OutcomeStatus:
		what = fmt.Sprintf("answers, the last of status %d", c.outcome.Status)
	case OutcomeTimeout:
		what = "timeouts"
	}
	by := "traffic"
	if c.active {
		by = "probes"
	}
	return fmt.Sprintf("%s: %d %s", by, c.count, what)
}

func (h *health) healthy() bool { return h.flags.Load()&flagUnhealthy == 0 }

// report counts an outcome by rules and tells whether the endpoint's health has
// changed. Counts are of outcomes in a row: a success ends every row of
// failures of its own check, and a failure the row of successes. Failures of
// both checks add up, but traffic that goes well says nothing against probes
// that do not: an endpoint may serve some paths and know that it is ill.
func (h *health) report(o Outcome, rules *CheckRules, active bool, now int64) (changed bool) {
	kind, limit := failureHTTP, rules.HTTPFailures
	switch o.Kind {
	case OutcomeNone:
		return false
	case OutcomeConnect:
		kind, limit = failureTCP, rules.TCPFailures
	case OutcomeTimeout:
		kind, limit = failureTimeout, rules.Timeouts
	case OutcomeStatus:
		switch {
		case rules.AnyStatus || rules.Healthy.Has(o.Status):
			return h.succeeded(o, rules.Successes, active, now)
		case o.Status != 0 && !rules.Unhealthy.Has(o.Status):
			return false
		}
	}
	if limit == 0 {
		return false
	}
	return h.failed(kind, o, limit, active, now)
}

// side returns where the failures of a check are counted, and the flag of it.
func side(active bool) (index int, flag uint32) {
	if active {
		return 1, flagProbes
	}
	return 0, flagTraffic
}

func (h *health) succeeded(o Outcome, limit int, active bool, now int64) (changed bool) {
	own, flag := side(active)
	if h.flags.Load()&(flagUnhealthy|flag) == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures[own] = [failureKinds]int{}
	if h.healthy() {
		h.flags.Store(h.flags.Load() &^ flag)
		return false
	}
	if limit == 0 {
		return false
	}
	if h.successes++; h.successes < limit {
		return false
	}
	h.since, h.why = now, cause{o, active, h.successes}
	h.successes = 0
	h.recovered.Store(now)
	h.flags.Store(0)
	return true
}

func (h *health) failed(kind failureKind, o Outcome, limit int, active bool, now int64) (changed bool) {
	own, flag := side(active)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.successes = 0
	if !h.healthy() {
		return false
	}
	h.failures[own][kind]++
	count := h.failures[0][kind] + h.failures[1][kind]
	if count < limit {
		h.flags.Store(h.flags.Load() | flag)
		return false
	}
	h.since, h.why = now, cause{o, active, count}
	h.failures = [2][failureKinds]int{}
	h.flags.Store(flagUnhealthy)
	return true
}

// last returns when the health changed last, 0 if never, and why.
func (h *health) last() (since int64, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, h.why.String()
}
