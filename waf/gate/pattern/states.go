package pattern

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
)

// Bounds of states.
const (
	freeSteps     = 64        // that a string may add to the states of a pattern
	bytesPerStep  = 8         // of a string, for each further one; beyond, regexp is asked
	patternMemory = 256 << 10 // bytes of the states of one pattern; then they are made anew
	stateOverhead = 144       // bytes of a state beside its lists, roughly
)

// state is what is known of the string so far: the instructions that wait for
// what comes next. All but next is fixed.
type state struct {
	next    []atomic.Pointer[state] // by class, then for the end of the string; nil for what has not come yet
	waiting []uint32                // opRead, and opAssert that looks ahead; ascending
	before  kind                    // of the last character, if an assertion waits
	end     bool                    // what comes next does not matter
	matched bool                    // with end: there is a match
}

// states are those of one pattern that have been met.
type states struct {
	owner      *Pattern
	program    *program
	generation uint64     // of the memory
	start      *state     // at the first character
	idle       *state     // where nothing has begun
	skip       *[256]bool // bytes that do not lead out of idle, or nil
	matched    *state
	dead       *state // nothing can match any more
	once       bool   // a match begins at the first character only

	mu    sync.Mutex
	known map[string]*state
	bytes int64
}

// current returns the states in use.
func (p *Pattern) current() *states {
	c := p.states.Load()
	if c != nil && c.generation == p.memory.generation.Load() {
		return c
	}
	fresh := newStates(p)
	if p.states.CompareAndSwap(c, fresh) {
		return fresh
	}
	p.memory.give(fresh.bytes, fresh.generation)
	if c = p.states.Load(); c != nil {
		return c
	}
	return fresh
}

// newStates makes the first states of a pattern.
func newStates(p *Pattern) *states {
	c := &states{
		owner: p, program: p.program, generation: p.memory.generation.Load(), known: map[string]*state{},
		matched: &state{end: true, matched: true}, dead: &state{end: true},
	}
	w := p.memory.scratch(len(p.program.code))
	defer p.memory.pool.Put(w)
	c.once = true
	for _, before := range []kind{newline, word} {
		w.reset()
		w.expand(c.program, c.program.start, before.flags(), false)
		c.once = c.once && !w.matched && len(w.waiting) == 0
	}
	begin := func(before kind) *state {
		w.reset()
		w.expand(c.program, c.program.start, before.flags(), false)
		return c.intern(w, before)
	}
	c.idle = begin(other)
	c.start = begin(nothing)
	if !c.idle.end {
		c.skip = c.skipped(w)
	}
	return c
}

// skipped finds the bytes that do not lead out of idle.
func (c *states) skipped(w *scratch) *[256]bool {
	g := c.program
	stays := make([]bool, g.classes)
	any := false
	for class := range g.classes {
		before, alive := c.step(w, c.idle, class)
		stays[class] = alive && !w.matched && slices.Equal(w.sorted(), c.idle.waiting) && (!w.asserts || before == c.idle.before)
		any = any || stays[class]
	}
	if !any {
		return nil
	}
	long := true // whether all characters of several bytes stay
	for n, class := range g.runs {
		if n+1 == len(g.bounds) || g.bounds[n+1] > 0x80 {
			long = long && stays[class]
		}
	}
	skip := new([256]bool)
	for b, class := range g.first {
		if class == lookUp {
			skip[b] = long
		} else {
			skip[b] = stays[class]
		}
	}
	return skip
}

// follow returns the state after a class, and notes it for the next time. It
// returns nil if the string has made the most steps that it may, or the states
// take what those of a pattern may.
func (c *states) follow(st *state, class uint8, left *int) *state {
	if *left--; *left < 0 {
		return nil
	}
	w := c.owner.memory.scratch(len(c.program.code))
	defer c.owner.memory.pool.Put(w)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes > patternMemory {
		return nil // retired, and full
	}
	next := c.dead
	if before, alive := c.step(w, st, class); w.matched {
		next = c.matched
	} else if alive {
		next = c.intern(w, before)
	}
	st.next[class].Store(next)
	return next
}

// step gathers in w what waits after st has met class. alive is false at the end
// of the string.
func (c *states) step(w *scratch, st *state, class uint8) (before kind, alive bool) {
	g := c.program
	after := nothing
	if class < g.classes {
		after = g.kinds[class]
	}
	w.reset()
	flags := st.before.flags() | between(st.before, after)
	for _, pc := range st.waiting {
		if in := &g.code[pc]; in.op == opAssert {
			w.expand(g, pc, flags, true)
		} else {
			w.add(pc)
		}
	}
	if w.matched || after == nothing {
		return nothing, false
	}
	w.reading = append(w.reading[:0], w.waiting...)
	w.reset()
	for _, pc := range w.reading {
		if in := &g.code[pc]; g.reads[in.reads][class] {
			w.expand(g, in.out, after.flags(), false)
		}
	}
	w.expand(g, g.start, after.flags(), false)
	return after, true
}

// intern returns the state that w holds.
func (c *states) intern(w *scratch, before kind) *state {
	switch {
	case w.matched:
		return c.matched
	case len(w.waiting) == 0 && c.once:
		return c.dead
	case !w.asserts:
		before = other
	}
	w.key = append(w.key[:0], byte(before))
	for _, pc := range w.sorted() {
		w.key = binary.LittleEndian.AppendUint32(w.key, pc)
	}
	if st := c.known[string(w.key)]; st != nil {
		return st
	}
	st := &state{waiting: slices.Clone(w.waiting), before: before, next: make([]atomic.Pointer[state], int(c.program.classes)+1)}
	c.known[string(w.key)] = st
	size := int64(stateOverhead + len(w.key) + 4*len(st.waiting) + 8*len(st.next))
	c.bytes += size
	full := c.owner.memory.take(size, c.generation)
	if full || c.bytes > patternMemory {
		c.retire()
	}
	return st
}

// retire has the pattern begin anew with the next string. Strings that are under
// way go on with the states they have, and add to them up to patternMemory.
func (c *states) retire() {
	if c.owner.states.CompareAndSwap(c, nil) {
		c.owner.memory.give(c.bytes, c.generation)
	}
}

// scratch is what it takes to find a state.
type scratch struct {
	waiting []uint32
	asserts bool // an assertion waits
	matched bool

	reading []uint32
	stack   []uint32
	key     []byte
	seen    []uint32 // by instruction, the round in which it was seen
	round   uint32
}

func (w *scratch) reset() {
	w.waiting, w.asserts, w.matched = w.waiting[:0], false, false
	if w.round++; w.round == 0 {
		clear(w.seen)
		w.round = 1
	}
}

// sorted returns what waits, ascending.
func (w *scratch) sorted() []uint32 {
	slices.Sort(w.waiting)
	return w.waiting
}

// add has an instruction wait.
func (w *scratch) add(pc uint32) {
	if w.seen[pc] != w.round {
		w.seen[pc] = w.round
		w.waiting = append(w.waiting, pc)
	}
}

// expand follows the program from pc on to what waits for a character. flags is
// what is known of this place; if not all is, assertions that look ahead wait.
func (w *scratch) expand(g *program, pc uint32, flags assertion, all bool) {
	w.stack = append(w.stack[:0], pc)
	for len(w.stack) > 0 {
		pc := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if w.seen[pc] == w.round {
			continue
		}
		in := &g.code[pc]
		if in.op == opRead {
			w.add(pc)
			continue
		}
		w.seen[pc] = w.round
		switch in.op {
		case opMatch:
			w.matched = true
			return
		case opPass:
			w.stack = append(w.stack, in.out)
		case opFork:
			w.stack = append(w.stack, in.arg, in.out)
		case opAssert:
			switch missing := in.arg &^ flags; {
			case missing == 0:
				w.stack = append(w.stack, in.out)
			case !all && missing&^ahead == 0:
				w.waiting = append(w.waiting, pc)
				w.asserts = true
			}
		}
	}
}
