package dns

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/miekg/dns"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// queriesAtOnce bounds the queries, and so the sockets, of a resolver.
	queriesAtOnce = 128
	// queriesPerName is how many queries are cached for each name that is kept.
	queriesPerName = 4
)

// errNothing says that there is no record: servers have said so.
var errNothing = errors.New("there is no record")

// queryKey is what is asked.
type queryKey struct {
	name string // canonical
	kind Type
}

// query is a question on its way or its answer. The fields but done are set
// before done is closed and never changed.
type query struct {
	done    chan struct{}
	reply   reply
	err     error // what went wrong on the way to an answer
	expires int64 // sock.Now when it is to be asked again
}

// until is for the cache: a query under way is not to be forgotten.
func (q *query) until() int64 {
	if !q.finished() {
		return 1<<63 - 1
	}
	return q.expires
}

func (q *query) finished() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

// query returns what servers say about a name and type: what is known already,
// or what they are asked for, by this walk or by another one.
func (g *generation) query(ctx context.Context, key queryKey) (*query, error) {
	g.mu.Lock()
	q := g.queries.get(key)
	mine := q == nil || q.finished() && sock.Now() >= q.expires
	if mine {
		q = &query{done: make(chan struct{})}
		g.queries.put(key, q)
	}
	g.mu.Unlock()
	if mine {
		g.ask(ctx, key, q)
	}
	select {
	case <-q.done:
		return q, q.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ask finishes a query, come what may.
func (g *generation) ask(ctx context.Context, key queryKey, q *query) {
	defer close(q.done)
	defer func() {
		if v := recover(); v != nil {
			g.panics.Inc()
			g.log.Error("BUG: panic while asking name servers", "name", key.name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			q.err = errors.New("BUG: a panic while asking name servers")
			q.expires = sock.Now() + int64(g.settings.Error)
		}
	}()
	q.reply, q.err = g.exchange(ctx, key)
	ttl := min(max(time.Duration(q.reply.ttl)*time.Second, g.settings.MinTTL), g.settings.MaxTTL)
	switch {
	case q.err != nil:
		ttl = g.settings.Error
	case q.reply.nothing:
		ttl = g.settings.NotFound
	}
	q.expires = sock.Now() + int64(ttl)
}

func (g *generation) exchange(ctx context.Context, key queryKey) (reply, error) {
	select {
	case g.slots <- struct{}{}:
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	}
	defer func() { <-g.slots }()

	p := g.plan.get()
	group, _ := p.serversFor(key.name)
	question := dns.Question{Name: key.name, Qtype: dns.StringToType[string(key.kind)], Qclass: dns.ClassINET}
	m, err := group.ask(ctx, g.exchanger, p, question)
	if err != nil {
		return reply{}, fmt.Errorf("asking for the %s record of %q: %w", key.kind, key.name, err)
	}
	r := readReply(m, question)
	if r.looping {
		return reply{}, fmt.Errorf("asking for the %s record of %q: %w", key.kind, key.name, errChain)
	}
	return r, nil
}
