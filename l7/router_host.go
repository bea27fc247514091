package l7

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/internal/index"
)

// hostKind is the form of a host pattern.
type hostKind uint8

const (
	hostAny    hostKind = iota // the route has no hosts
	hostExact                  // name
	hostSuffix                 // *.name, kept as ".name"
	hostPrefix                 // name.*, kept as "name."
)

// hostPattern is a host of a route.
type hostPattern struct {
	kind hostKind
	text string // lower case
	port int32  // or anyPort
}

func (p hostPattern) ported() bool { return p.port != anyPort }

// parseHost reads a host of a route: a name, "*.name" or "name.*", or an IPv6
// address with or without brackets, each with an optional port, for which IPv6
// needs the brackets.
func parseHost(s string) (hostPattern, error) {
	p := hostPattern{kind: hostExact, text: strings.ToLower(s), port: anyPort}
	if strings.Count(s, ":") > 1 && s[0] != '[' {
		p.text = "[" + p.text + "]"
		return p, nil
	}
	if i := strings.LastIndexByte(p.text, ':'); i > strings.LastIndexByte(p.text, ']') {
		port, err := strconv.ParseUint(p.text[i+1:], 10, 16)
		if err != nil {
			return p, fmt.Errorf("reading the port of host %q: %w", s, err)
		}
		p.text, p.port = p.text[:i], int32(port)
	}
	switch {
	case strings.HasPrefix(p.text, "*."):
		p.kind, p.text = hostSuffix, p.text[1:]
	case strings.HasSuffix(p.text, ".*"):
		p.kind, p.text = hostPrefix, p.text[:len(p.text)-1]
	}
	if strings.Trim(p.text, ".") == "" || strings.Contains(p.text, "*") {
		return p, fmt.Errorf("reading host %q: %w", s, errHostForm)
	}
	return p, nil
}

var errHostForm = errors.New(`expected a name, "*.name" or "name.*", with an optional port`)

// hostIndex leads from a request's host to the path trees of the routes that
// may be meant. It is immutable; those of several routers share what is the
// same.
type hostIndex struct {
	exact    index.Map[pathTree]
	suffixes wildcardIndex
	prefixes wildcardIndex
	anyHost  pathTree // the routes without hosts
}

// wildcardIndex holds the trees of the wildcard hosts that have their star at
// the same end. A key is the fixed part with its dot at the star.
type wildcardIndex struct {
	trees index.Map[pathTree]
	dots  uint64 // bit n is set if there is, or was, a key with n dots, or more for the last bit
}

// mostDots is the number of dots from which on wildcardIndex does not tell
// keys apart by their dots.
const mostDots = 63

// may reports whether there may be a key with n or more dots.
func (w *wildcardIndex) may(n int) bool { return w.dots>>min(n, mostDots) != 0 }

// get returns the tree of a key with n dots, nil if there is none.
func (w *wildcardIndex) get(n int, key string) *pathTree {
	if w.dots>>min(n, mostDots)&1 == 0 {
		return nil
	}
	return w.trees.Find(key)
}

// with returns the index with some trees changed.
func (w wildcardIndex) with(changes []treeChange) wildcardIndex {
	w.trees = w.trees.With(changes)
	if w.trees.Len() == 0 {
		return wildcardIndex{}
	}
	for i := range changes {
		if !changes[i].Gone {
			w.dots |= 1 << min(strings.Count(changes[i].Key, "."), mostDots)
		}
	}
	return w
}

// treeChange is a host and its new tree.
type treeChange = index.Change[pathTree]

// hostKey is a host pattern without its port.
type hostKey struct {
	kind hostKind
	text string
}

// tree returns the tree of a host, an empty one if there is none.
func (h *hostIndex) tree(key hostKey) (t pathTree) {
	switch key.kind {
	case hostAny:
		t = h.anyHost
	case hostExact:
		t, _ = h.exact.Get(key.text)
	case hostSuffix:
		t, _ = h.suffixes.trees.Get(key.text)
	case hostPrefix:
		t, _ = h.prefixes.trees.Get(key.text)
	}
	return t
}

// hostRule is a rule under one host.
type hostRule struct {
	rule int32 // index into the rules
	port int32
}

// edited returns the index with rules added and taken away. Hosts that had the
// same tree, or none, and now get the same rules, have the same tree again.
func (h hostIndex) edited(rules []rule) hostIndex {
	byHost := map[hostKey][]hostRule{}
	for i := range rules {
		for _, p := range rules[i].hosts {
			key := hostKey{p.kind, p.text}
			byHost[key] = append(byHost[key], hostRule{int32(i), p.port})
		}
	}
	shared := treeSharer{rules: rules, known: map[sharedTree]pathTree{}}
	var changes [hostPrefix + 1][]treeChange
	for key, list := range byHost {
		t, text := shared.edited(h.tree(key), list, key.text)
		changes[key.kind] = append(changes[key.kind], treeChange{Key: text, Value: t, Gone: t.empty()})
	}
	for _, c := range changes[hostAny] {
		h.anyHost = c.Value
	}
	h.exact = h.exact.With(changes[hostExact])
	h.suffixes = h.suffixes.with(changes[hostSuffix])
	h.prefixes = h.prefixes.with(changes[hostPrefix])
	return h
}

// treeSharer edits each tree once for each distinct list of rules.
type treeSharer struct {
	rules   []rule
	known   map[sharedTree]pathTree
	key     []byte
	entries []pathEntry
}

// sharedTree is a tree and the rules to change it by, spelled as bytes.
type sharedTree struct {
	before treeIdentity
	rules  string
}

// edited returns a host's tree, changed by the rules, and the host's text. If
// the tree is the first such, they lie together in memory.
func (s *treeSharer) edited(t pathTree, list []hostRule, host string) (pathTree, string) {
	s.key, s.entries = s.key[:0], s.entries[:0]
	for _, at := range list {
		s.key = binary.LittleEndian.AppendUint32(s.key, uint32(at.rule))
		s.key = binary.LittleEndian.AppendUint32(s.key, uint32(at.port))
	}
	key := sharedTree{t.identity(), string(s.key)}
	if t, ok := s.known[key]; ok {
		return t, host
	}
	for _, at := range list {
		r := &s.rules[at.rule]
		for i := range r.paths {
			s.entries = append(s.entries, pathEntry{r.paths[i].prefix, r, int32(i), at.port})
		}
	}
	slices.SortFunc(s.entries, func(a, b pathEntry) int { return a.compare(&b) })
	t, host = t.edited(s.entries, host)
	s.known[key] = t
	return t, host
}
