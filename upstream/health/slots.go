package health

import (
	"slices"
	"sync"
)

// slots are the probes that all checkers together may have in flight. Half of
// them are shared out: each checker has its part for itself, so that none waits
// for the targets of another, however many of those hang. The rest is taken by
// whoever needs more than that, by turns where there are too few. Safe for
// concurrent use.
type slots struct {
	most int

	mu     sync.Mutex
	shares map[*share]bool
	own    int      // that each share has for itself
	extra  int      // taken beyond that, by all shares
	queue  []*share // those who wait for one beyond theirs, the one that waited longest first
}

// share is what one checker has of the slots. The slots' mu guards it.
type share struct {
	slots *slots
	held  int
}

func newSlots(most int) *slots { return &slots{most: most, shares: make(map[*share]bool)} }

// join returns the share of another checker, which leave ends.
func (s *slots) join() *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &share{slots: s}
	s.shares[h] = true
	s.divide()
	return h
}

// leave ends a share, of which nothing is held any more.
func (h *share) leave() {
	s := h.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unqueue(h)
	delete(s.shares, h)
	s.divide()
}

// divide works out what each share has for itself. What is held stays held.
func (s *slots) divide() {
	s.own, s.extra = s.most/2/max(len(s.shares), 1), 0
	for h := range s.shares {
		s.extra += max(0, h.held-s.own)
	}
}

// take takes a slot, if there is one for this share at present. If not, the share
// waits for its turn, to be seen when it asks again.
func (h *share) take() bool {
	s := h.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.held >= s.own {
		free := s.most - s.own*len(s.shares) - s.extra
		at := slices.Index(s.queue, h)
		before := at
		if at < 0 {
			before = len(s.queue)
		}
		if before >= free {
			if at < 0 {
				s.queue = append(s.queue, h)
			}
			return false
		}
		if at >= 0 {
			s.queue = slices.Delete(s.queue, at, at+1)
		}
		s.extra++
	}
	h.held++
	return true
}

// give gives a slot back.
func (h *share) give() {
	s := h.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.held > s.own {
		s.extra--
	}
	h.held--
}

// rest says that the share waits for nothing.
func (h *share) rest() {
	s := h.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unqueue(h)
}

func (s *slots) unqueue(h *share) {
	if at := slices.Index(s.queue, h); at >= 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
	}
}
