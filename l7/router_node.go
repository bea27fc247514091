package l7

import (
	"cmp"
	"slices"
	"strings"
)

// pathNode is a node of a tree that is being changed, and the tree below it;
// nil is an empty tree.
type pathNode struct {
	text     string // what it adds to its parent's prefix
	labels   string // the first byte of each child's text, sorted
	children []pathNode
	items    []candidate // those at this place, the preferred ones first

	// part is the tree of the node and of what is below, as long as no change
	// has come there; then text is the node's label, and the rest is empty.
	part *pathTree

	// What weigh says.

	bytes int  // of the encoded node, with those below that are not cut off
	count int  // of their candidates
	cut   bool // it is a part of its parent's tree
}

// edited returns the tree with the entries made true, of which there is at
// least one; they are sorted. name is that of encoded.
func (t *pathTree) edited(entries []pathEntry, name string) (e pathTree, key string) {
	var n *pathNode
	if !t.empty() {
		root := t.open("")
		n = &root
	}
	root, ok := n.edited(entries, 0)
	if !ok {
		return pathTree{}, name
	}
	return root.encoded(name)
}

// pathEntry is a change of a tree: a path of a rule that is added under a port,
// or a route of which nothing is left at the prefix.
type pathEntry struct {
	prefix string
	rule   *rule
	path   int32 // place among the rule's paths
	port   int32 // the request's must be this one, or anyPort
}

// compare orders entries as edited wants them.
func (e *pathEntry) compare(o *pathEntry) int {
	if c := strings.Compare(e.prefix, o.prefix); c != 0 {
		return c
	}
	if e.rule.gone != o.rule.gone {
		if e.rule.gone {
			return -1
		}
		return 1
	}
	return cmp.Or(e.rule.compare(&o.rule.candidate), cmp.Compare(e.path, o.path), cmp.Compare(e.port, o.port))
}

// beats reports whether what the entry adds is preferred to c.
func (e *pathEntry) beats(c *candidate) bool {
	added := e.candidate()
	return added.compare(c) < 0
}

// candidate returns what the entry adds.
func (e *pathEntry) candidate() candidate {
	c := e.rule.candidate
	c.pattern, c.prefix, c.path, c.port = e.rule.paths[e.path].pattern, int32(len(e.prefix)), e.path, e.port
	return c
}

// edited returns the tree with the entries made true, of which there is at
// least one, and whether anything is left. They are sorted, and the depth bytes
// of their prefixes that stand above the node are its own. Only parts on the way
// to an entry are opened.
func (n *pathNode) edited(entries []pathEntry, depth int) (e pathNode, ok bool) {
	first, last := entries[0].prefix[depth:], entries[len(entries)-1].prefix[depth:]
	if n == nil {
		e.text = first[:sharedBytes(first, last)]
	} else {
		e = n.opened()
		if at := min(sharedBytes(e.text, first), sharedBytes(e.text, last)); at < len(e.text) {
			below := e
			below.text = e.text[at:]
			e = pathNode{text: e.text[:at], labels: below.text[:1], children: []pathNode{below}}
		}
	}
	depth += len(e.text)
	own := 0
	for own < len(entries) && len(entries[own].prefix) == depth {
		own++
	}
	if own > 0 {
		e.editItems(entries[:own])
	}
	if own < len(entries) {
		e.editChildren(entries[own:], depth)
	}
	return e.compacted()
}

// editItems makes the entries true at the node itself.
func (n *pathNode) editItems(entries []pathEntry) {
	i := 0
	for i < len(entries) && entries[i].rule.gone {
		i++
	}
	gone, added := entries[:i], entries[i:]
	items := make([]candidate, 0, len(n.items)+len(added))
	for i := range n.items {
		c := &n.items[i]
		if slices.ContainsFunc(gone, func(e pathEntry) bool { return e.rule.route == c.route }) {
			continue
		}
		for len(added) > 0 && added[0].beats(c) {
			items, added = append(items, added[0].candidate()), added[1:]
		}
		items = append(items, *c)
	}
	for i := range added {
		items = append(items, added[i].candidate())
	}
	n.items = items
}

// editChildren makes the entries true below the node; all are longer than
// depth.
func (n *pathNode) editChildren(entries []pathEntry, depth int) {
	oldLabels, old := n.labels, n.children
	labels, children := make([]byte, 0, len(old)+1), make([]pathNode, 0, len(old)+parts(entries, depth))
	keep := func(count int) {
		labels, oldLabels = append(labels, oldLabels[:count]...), oldLabels[count:]
		children, old = append(children, old[:count]...), old[count:]
	}
	for len(entries) > 0 {
		label, count := entries[0].prefix[depth], 1
		for count < len(entries) && entries[count].prefix[depth] == label {
			count++
		}
		for len(old) > 0 && oldLabels[0] < label {
			keep(1)
		}
		var child *pathNode
		if len(old) > 0 && oldLabels[0] == label {
			child, old, oldLabels = &old[0], old[1:], oldLabels[1:]
		}
		if e, ok := child.edited(entries[:count], depth); ok {
			labels, children = append(labels, label), append(children, e)
		}
		entries = entries[count:]
	}
	keep(len(old))
	n.labels, n.children = string(labels), children
}

// parts counts the different bytes at the given place of sorted entries'
// prefixes.
func parts(entries []pathEntry, at int) (n int) {
	for i := range entries {
		if i == 0 || entries[i].prefix[at] != entries[i-1].prefix[at] {
			n++
		}
	}
	return n
}

// compacted returns the node as its tree is to have it: its child if that is
// all there is, and not ok if it holds nothing.
func (n *pathNode) compacted() (c pathNode, ok bool) {
	if len(n.items) > 0 || len(n.children) > 1 {
		return *n, true
	}
	if len(n.children) == 0 {
		return pathNode{}, false
	}
	c = n.children[0].opened()
	c.text = n.text + c.text
	return c, true
}

// sharedBytes returns how many bytes a and b have in common at their beginning.
func sharedBytes(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
