package config

import (
	"slices"

	"github.com/bulwark-edge/bulwark/internal/index"
)

// Adopt compares a configuration that was loaded with one that served before.
// It returns c with every entity that is equal to one of old replaced by it, so
// that the two share memory and equal entities are the same pointer, and the
// keys of what differs: what was changed, added or removed, in no order. The
// keys are not nil unless old is, which stands for everything. Neither c nor
// old is changed.
//
// The node section has no key; it is c's.
func (c *Config) Adopt(old *Config) (*Config, []Key) {
	if old == nil {
		return c, nil
	}
	changed := []Key{}
	merged := &Config{Node: c.Node, Hash: c.Hash, Files: c.Files}
	adopt(&merged.Services, &c.Services, &old.Services, &changed)
	adopt(&merged.Routes, &c.Routes, &old.Routes, &changed)
	adopt(&merged.Upstreams, &c.Upstreams, &old.Upstreams, &changed)
	adopt(&merged.Targets, &c.Targets, &old.Targets, &changed)
	adopt(&merged.Consumers, &c.Consumers, &old.Consumers, &changed)
	adopt(&merged.Plugins, &c.Plugins, &old.Plugins, &changed)
	adopt(&merged.Certificates, &c.Certificates, &old.Certificates, &changed)
	adopt(&merged.SNIs, &c.SNIs, &old.SNIs, &changed)
	adopt(&merged.CACertificates, &c.CACertificates, &old.CACertificates, &changed)
	adopt(&merged.MTLSAuthCredentials, &c.MTLSAuthCredentials, &old.MTLSAuthCredentials, &changed)
	adopt(&merged.HeaderCertAuthCredentials, &c.HeaderCertAuthCredentials, &old.HeaderCertAuthCredentials, &changed)
	return merged, changed
}

// adopt makes merged of c and old, and appends the keys that differ.
func adopt[T any, P interface {
	*T
	entity
}](merged, c, old *Collection[T], changed *[]Key) {
	all := make([]*T, len(c.all))
	typ := typeOf[T]()
	order := inOrder[T, P]{collection: old, left: old.all}
	var edits indexEdits[T, P]
	kept, adopted := 0, 0
	for i, e := range c.all {
		id, _ := P(e).identity()
		before := order.find(*id)
		if before != nil {
			kept++
		}
		if before != nil && (before == e || typ.Equal(before, e)) {
			all[i] = before
			adopted++
			continue
		}
		all[i] = e
		edits.replace(before, e)
		*changed = append(*changed, Key{kindOf[T](), *id})
	}
	if kept < len(old.all) {
		for _, e := range old.all {
			id, _ := P(e).identity()
			if _, stays := c.Get(*id); !stays {
				edits.replace(e, nil)
				*changed = append(*changed, Key{kindOf[T](), *id})
			}
		}
	}
	switch {
	case slices.Equal(all, old.all):
		*merged = *old
	case adopted == 0:
		*merged = *c
	default:
		*merged = Collection[T]{
			all: all, byID: withEdits(&old.byID, edits.ids), byKey: withEdits(&old.byKey, edits.keys),
			byOther: withEdits(&old.byOther, edits.others),
		}
	}
}

// inOrder finds the entities of a collection that are mostly asked for in its
// order, which is several times as fast as through its index.
type inOrder[T any, P interface {
	*T
	entity
}] struct {
	collection *Collection[T]
	left       []*T // those behind the last one found in order
}

// find returns the entity with an id, or nil.
func (o *inOrder[T, P]) find(id ID) *T {
	for skip := range min(2, len(o.left)) { // the next one, or the one behind it if that was removed
		e := o.left[skip]
		if at, _ := P(e).identity(); *at == id {
			o.left = o.left[skip+1:]
			return e
		}
	}
	e, _ := o.collection.Get(id)
	return e
}

// indexEdits are the changes of a collection's indexes.
type indexEdits[T any, P interface {
	*T
	entity
}] struct{ ids, keys, others []index.Change[*T] }

// replace puts an entity, nil for none, in the place of another, nil for none.
func (x *indexEdits[T, P]) replace(before, e *T) {
	if before != nil {
		x.identify(before, true)
		x.alter(before, true)
	}
	if e != nil {
		x.identify(e, false)
		x.alter(e, false)
	}
}

// identify adds or removes what an entity is found by.
func (x *indexEdits[T, P]) identify(e *T, gone bool) {
	id, key := P(e).identity()
	x.ids = append(x.ids, index.Change[*T]{Key: string(id[:]), Value: e, Gone: gone})
	if key != "" {
		x.keys = append(x.keys, index.Change[*T]{Key: key, Value: e, Gone: gone})
	}
}

// alter adds or removes what an entity is found by besides.
func (x *indexEdits[T, P]) alter(e *T, gone bool) {
	a, ok := any(P(e)).(alternate)
	if !ok {
		return
	}
	if key := a.otherKey(); key != "" {
		x.others = append(x.others, index.Change[*T]{Key: key, Value: e, Gone: gone})
	}
}

// withEdits returns an index with the changes made: first what goes, as a key may
// pass from one entity to another.
func withEdits[T any](m *index.Map[*T], edits []index.Change[*T]) index.Map[*T] {
	slices.SortStableFunc(edits, func(a, b index.Change[*T]) int {
		switch {
		case a.Gone == b.Gone:
			return 0
		case a.Gone:
			return -1
		}
		return 1
	})
	return m.With(edits)
}
