package config

import (
	"reflect"
	"slices"
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
	return merged, changed
}

// adopt makes merged of c and old, and appends the keys that differ.
func adopt[T any, P interface {
	*T
	entity
}](merged, c, old *Collection[T], changed *[]Key) {
	all := make([]*T, len(c.all))
	kept := 0
	for i, e := range c.all {
		id, _ := P(e).identity()
		before, known := old.byID[*id]
		if known {
			kept++
		}
		if known && (before == e || sameContent(before, e)) {
			all[i] = before
			continue
		}
		all[i] = e
		*changed = append(*changed, Key{kindOf[T](), *id})
	}
	if kept < len(old.all) {
		for _, e := range old.all {
			id, _ := P(e).identity()
			if _, stays := c.byID[*id]; !stays {
				*changed = append(*changed, Key{kindOf[T](), *id})
			}
		}
	}
	switch {
	case slices.Equal(all, old.all):
		*merged = *old
	case slices.Equal(all, c.all):
		*merged = *c
	default:
		*merged = indexed[T, P](all)
	}
}

// indexed returns the collection of entities whose ids and keys are unique.
func indexed[T any, P interface {
	*T
	entity
}](all []*T) Collection[T] {
	c := Collection[T]{all: all, byID: make(map[ID]*T, len(all)), byKey: make(map[string]*T, len(all))}
	for _, e := range all {
		id, key := P(e).identity()
		c.byID[*id] = e
		if key != "" {
			c.byKey[key] = e
		}
	}
	return c
}

// sameContent reports whether two entities say the same. What only follows from
// that is left out: what was parsed from the text of a certificate, and the
// description of a plugin's configuration.
func sameContent[T any](a, b *T) bool {
	switch b := any(b).(type) {
	case *Route:
		return routeType.Equal(a, b)
	case *Certificate:
		x, y := *any(a).(*Certificate), *b
		x.pairs, y.pairs = nil, nil
		return reflect.DeepEqual(x, y)
	case *CACertificate:
		x, y := *any(a).(*CACertificate), *b
		x.parsed, y.parsed = nil, nil
		return reflect.DeepEqual(x, y)
	case *Plugin:
		x, y := *any(a).(*Plugin), *b
		x.kind, y.kind = nil, nil
		return reflect.DeepEqual(x, y)
	}
	return reflect.DeepEqual(a, b)
}
