package dns

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// askNext is how long one type is waited for before the next one is asked for as
// well.
const askNext = 200 * time.Millisecond

// race is the look-up of a name by several types. While servers answer they are
// asked for one after the other, and the first that has something ends it. A type
// that servers are silent about holds the others up for askNext only, and an
// answer that came meanwhile for as long as one round over the servers, of which
// it counts at most two.
type race struct {
	kinds   []Type
	tries   []try // of the kinds, as far as they have been asked for
	results chan result
	running int
	hurried bool // the next kind may be asked for, although one is running
	late    bool // the kinds that are running have had their time
	unknown bool // A says that the name does not exist
}

type try struct {
	result
	done bool
}

type result struct {
	at  int // of the kind
	o   outcome
	err error
}

// byOrder asks for a name by its types. stop says that it may exist, although no
// record was found: it is not to be mistaken for another.
func (g *generation) byOrder(ctx context.Context, fqdn string) (o outcome, stop bool, err error) {
	r := race{results: make(chan result, len(g.settings.Order))}
	for _, kind := range g.settings.Order {
		if kind != Last {
			r.kinds = append(r.kinds, kind)
		}
	}
	p := g.plan.get()
	group, _ := p.serversFor(fqdn)
	enough := time.NewTimer(p.timeout * time.Duration(min(max(len(group.list), 1), 2)))
	hurry := time.NewTimer(askNext)
	defer enough.Stop()
	defer hurry.Stop()
	for {
		if o, ok := r.won(); ok {
			return o, true, nil
		}
		if r.mayStart() {
			r.start(g, fqdn)
			r.hurried = false
			hurry.Reset(askNext)
			continue
		}
		if r.running == 0 {
			return r.lost()
		}
		select {
		case result := <-r.results:
			r.land(result)
		case <-hurry.C:
			r.hurried = true
		case <-enough.C:
			r.late = true
		case <-ctx.Done():
			return outcome{}, true, context.Cause(ctx)
		}
	}
}

// won returns the answer of the kind that comes first in the order, once none
// that comes before it is worth waiting for.
func (r *race) won() (outcome, bool) {
	for i := range r.tries {
		switch t := &r.tries[i]; {
		case !t.done && !r.late && r.counts(r.kinds[i]):
			return outcome{}, false
		case t.done && t.err == nil:
			return t.o, true
		}
	}
	return outcome{}, false
}

// counts reports whether a kind can have something: once A says that there is no
// such name only SRV can; other types are believed less, since some servers deny
// what has an address.
func (r *race) counts(kind Type) bool { return !r.unknown || kind == SRV }

// mayStart reports whether the next kind is to be asked for, and passes over
// those that cannot have anything.
func (r *race) mayStart() bool {
	for len(r.tries) < len(r.kinds) && !r.counts(r.kinds[len(r.tries)]) {
		r.tries = append(r.tries, try{done: true, result: result{err: errNothing}})
	}
	if len(r.tries) == len(r.kinds) {
		return false
	}
	for i := range r.tries {
		if r.tries[i].done && r.tries[i].err == nil {
			return false
		}
	}
	return r.running == 0 || r.hurried
}

// start asks for the next kind. What it leads to is waited for by the resolver's
// Close, for others may want the answer when this race is over.
func (r *race) start(g *generation, fqdn string) {
	at := len(r.tries)
	kind, results := r.kinds[at], r.results
	r.tries = append(r.tries, try{})
	r.running++
	g.work.Go(func() {
		ctx, cancel := context.WithTimeout(g.ctx, flightTime)
		defer cancel()
		o, err := g.find(ctx, fqdn, kind, 0)
		results <- result{at, o, err} // has room
	})
}

func (r *race) land(got result) {
	r.running--
	r.tries[got.at] = try{got, true}
	if r.kinds[got.at] == A && errors.Is(got.err, errNoName) {
		r.unknown = true
	}
}

// lost returns what went wrong, or that there is nothing.
func (r *race) lost() (o outcome, stop bool, err error) {
	var trouble error
	for i := range r.tries {
		if t := &r.tries[i]; !errors.Is(t.err, errNothing) {
			trouble = t.err
			stop = stop || r.kinds[i] != SRV // servers that are no good with SRV are common
		}
	}
	return outcome{}, stop, cmp.Or(trouble, error(errNothing))
}
