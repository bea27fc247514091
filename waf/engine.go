package waf

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	coraza "github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
)

// Engines shares compiled engines by the hash of their rules. The zero value is
// ready; all methods may be called by several goroutines at once.
type Engines struct {
	mu     sync.Mutex
	shared map[string]*Engine
	temp   *tempDir // made by the first Open
	turns  *turns   // made by the first Open
}

// Engine is what rules compile to, about 20 MB for the Core Rule Set. Any number
// of inspections may use it at once.
type Engine struct {
	owner  *Engines
	rules  *Rules
	waf    coraza.WAF
	turns  *turns
	byID   map[int]rule
	byTag  map[string][]int
	panics atomic.Int64

	users int // guarded by owner.mu
}

// Open compiles the rules, or shares the engine that has been compiled of the
// same text. Each Open is ended by one Close. The error tells file, line and
// reason of every rule that is wrong.
func (s *Engines) Open(r *Rules) (*Engine, error) {
	// Compiling takes part of a second; others that want an engine wait, which
	// keeps two of them from compiling the same.
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.shared[r.hash]; e != nil {
		e.users++
		return e, nil
	}
	register()
	if s.temp == nil {
		t, err := newTempDir()
		if err != nil {
			return nil, err
		}
		s.temp = t
	}
	if s.turns == nil {
		s.turns = newTurns()
	}
	if err := reserved(r); err != nil {
		return nil, err
	}
	w, rules, err := compile(r, s.temp.path)
	if err != nil {
		return nil, err
	}
	e := &Engine{owner: s, rules: r, waf: w, users: 1, turns: s.turns, byID: map[int]rule{}, byTag: map[string][]int{}}
	for _, rule := range rules {
		e.byID[rule.id] = rule
		for _, tag := range rule.tags {
			e.byTag[tag] = append(e.byTag[tag], rule.id)
		}
	}
	if s.shared == nil {
		s.shared = map[string]*Engine{}
	}
	s.shared[r.hash] = e
	return e, nil
}

// Close ends one Open; the last one frees what the engine shares with others.
// Inspections that are under way go on.
func (e *Engine) Close() error {
	s := e.owner
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.users == 0 {
		return errors.New("closing a rule engine more often than it was opened")
	}
	if e.users--; e.users > 0 {
		return nil
	}
	delete(s.shared, e.rules.hash)
	closeWAF(e.waf)
	return nil
}

// Close removes the directory of temporary files. No inspection may be under
// way; a process that ends without it leaves the directory to the next one.
func (s *Engines) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temp == nil {
		return nil
	}
	t := s.temp
	s.temp = nil
	return t.remove()
}

// Count is the number of rules.
func (e *Engine) Count() int { return len(e.byID) }

// Rules is the text that the engine was compiled of.
func (e *Engine) Rules() *Rules { return e.rules }

// Panics is how often the engine has panicked; each ended one inspection.
func (e *Engine) Panics() int64 { return e.panics.Load() }

// begin makes a transaction.
func (e *Engine) begin(id string) (transaction, error) {
	tx, ok := e.waf.NewTransactionWithID(id).(transaction)
	if !ok {
		return nil, fmt.Errorf("the engine's transactions are of the type %T, which lacks methods", tx)
	}
	return tx, nil
}

var _ types.Transaction = transaction(nil)
