package l7

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
// may be meant.
type hostIndex struct {
	exact    map[string]pathTree
	suffixes wildcardIndex
	prefixes wildcardIndex
	anyHost  pathTree // the routes without hosts
}

// wildcardIndex holds the trees of the wildcard hosts that have their star at
// the same end. A key is the fixed part with its dot at the star.
type wildcardIndex struct {
	trees map[string]pathTree
	dots  uint64 // bit n is set if there is a key with n dots, or more for the last bit
}

// mostDots is the number of dots from which on wildcardIndex does not tell
// keys apart by their dots.
const mostDots = 63

// may reports whether there may be a key with n or more dots.
func (w *wildcardIndex) may(n int) bool { return w.dots>>min(n, mostDots) != 0 }

func (w *wildcardIndex) get(n int, key string) (pathTree, bool) {
	if w.dots>>min(n, mostDots)&1 == 0 {
		return pathTree{}, false
	}
	t, ok := w.trees[key]
	return t, ok
}

func (w *wildcardIndex) put(key string, t pathTree) {
	if w.trees == nil {
		w.trees = map[string]pathTree{}
	}
	w.trees[key] = t
	w.dots |= 1 << min(strings.Count(key, "."), mostDots)
}

// hostKey is a host pattern without its port.
type hostKey struct {
	kind hostKind
	text string
}

// hostRule is a rule under one host.
type hostRule struct {
	rule int32 // index into the sorted rules
	port int32
}

// buildHosts makes the index and the path trees of sorted rules. Hosts with
// the same rules share a tree.
func buildHosts(rules []rule, trees *pathTrees) hostIndex {
	byHost := map[hostKey][]hostRule{{kind: hostAny}: nil}
	order := []hostKey{{kind: hostAny}} // so that the same rules make the same router
	for i := range rules {
		for _, p := range rules[i].hosts {
			key := hostKey{p.kind, p.text}
			list, known := byHost[key]
			if !known {
				order = append(order, key)
			}
			byHost[key] = append(list, hostRule{int32(i), p.port})
		}
	}
	index := hostIndex{exact: make(map[string]pathTree, len(order))}
	shared := treeSharer{rules: rules, trees: trees, known: map[string]pathTree{}}
	for _, key := range order {
		t := shared.tree(byHost[key])
		switch key.kind {
		case hostAny:
			index.anyHost = t
		case hostExact:
			index.exact[key.text] = t
		case hostSuffix:
			index.suffixes.put(key.text, t)
		case hostPrefix:
			index.prefixes.put(key.text, t)
		}
	}
	return index
}

// treeSharer builds each distinct tree once.
type treeSharer struct {
	rules   []rule
	trees   *pathTrees
	known   map[string]pathTree // by the list of rules, spelled as bytes
	key     []byte
	entries []pathEntry
}

func (s *treeSharer) tree(list []hostRule) pathTree {
	if len(list) == 0 {
		return pathTree{lowest: noRank}
	}
	s.key = s.key[:0]
	for _, at := range list {
		s.key = binary.LittleEndian.AppendUint32(s.key, uint32(at.rule))
		s.key = binary.LittleEndian.AppendUint32(s.key, uint32(at.port))
	}
	if t, ok := s.known[string(s.key)]; ok {
		return t
	}
	s.entries = s.entries[:0]
	for _, at := range list {
		r := &s.rules[at.rule]
		for i := range r.candidates {
			s.entries = append(s.entries, pathEntry{r.candidates[i].prefix, pathItem{r.rank + int32(i), at.port}})
		}
	}
	t := s.trees.add(s.entries)
	s.known[string(s.key)] = t
	return t
}
