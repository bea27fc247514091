package l7

import (
	"cmp"
	"slices"
	"strings"
)

// pathTree is one radix tree over paths; the zero value of pathTrees holds
// none.
type pathTree struct {
	root   int32 // index of its root node
	lowest int32 // the lowest rank in the tree
}

// pathTrees holds the nodes of every tree of a router in a few large slices:
// 15,000 hosts are 15,000 trees, most of a single node.
type pathTrees struct {
	nodes []pathNode
	items []pathItem
}

// pathNode is a place in a tree: the prefix that the texts from the root down
// to it spell.
type pathNode struct {
	text   string // what it adds to its parent's prefix; empty at a root only
	labels string // the first byte of each child's text
	child  int32  // index of the first child; the others follow it

	items, itemsEnd int32 // the node's items, by rank
	up              int32 // the nearest node above that has items, or -1
	lowest          int32 // the lowest rank among its items and those of the nodes above
}

// pathItem is a candidate at its prefix.
type pathItem struct {
	rank int32
	port int32 // the request's port must be this one, or anyPort
}

const anyPort int32 = -1

// deepest returns the node with items that has the longest prefix of path, or
// -1.
func (t *pathTrees) deepest(at int32, path string) int32 {
	found := int32(-1)
	for {
		n := &t.nodes[at]
		if !strings.HasPrefix(path, n.text) {
			return found
		}
		path = path[len(n.text):]
		if n.items < n.itemsEnd {
			found = at
		}
		if path == "" {
			return found
		}
		i := strings.IndexByte(n.labels, path[0])
		if i < 0 {
			return found
		}
		at = n.child + int32(i)
	}
}

// pathEntry is an item on its way into a tree.
type pathEntry struct {
	prefix string
	pathItem
}

// add builds a tree of the entries, of which there is at least one. It sorts
// them.
func (t *pathTrees) add(entries []pathEntry) pathTree {
	slices.SortFunc(entries, func(a, b pathEntry) int {
		return cmp.Or(strings.Compare(a.prefix, b.prefix), cmp.Compare(a.rank, b.rank), cmp.Compare(a.port, b.port))
	})
	lowest := noRank
	for i := range entries {
		lowest = min(lowest, entries[i].rank)
	}
	root := int32(len(t.nodes))
	t.nodes = append(t.nodes, pathNode{})
	t.fill(root, entries, 0, -1)
	return pathTree{root: root, lowest: lowest}
}

// fill makes the node at, whose parent's prefix has the given depth, and all
// below it. entries are sorted and are those with the node's prefix.
func (t *pathTrees) fill(at int32, entries []pathEntry, depth int, up int32) {
	first, last := entries[0].prefix, entries[len(entries)-1].prefix
	end := depth
	for end < len(first) && end < len(last) && first[end] == last[end] {
		end++
	}
	n := pathNode{text: first[depth:end], up: up, lowest: noRank, items: int32(len(t.items))}
	if up >= 0 {
		n.lowest = t.nodes[up].lowest
	}
	for len(entries) > 0 && len(entries[0].prefix) == end {
		n.lowest = min(n.lowest, entries[0].rank)
		t.items = append(t.items, entries[0].pathItem)
		entries = entries[1:]
	}
	n.itemsEnd = int32(len(t.items))
	below := up
	if n.items < n.itemsEnd {
		below = at
	}
	children := splitByByte(entries, end)
	labels := make([]byte, len(children))
	for i, c := range children {
		labels[i] = c[0].prefix[end]
	}
	n.labels, n.child = string(labels), int32(len(t.nodes))
	t.nodes[at] = n
	t.nodes = append(t.nodes, make([]pathNode, len(children))...)
	for i, c := range children {
		t.fill(n.child+int32(i), c, end, below)
	}
}

// splitByByte cuts sorted entries, all longer than at, by the byte at that
// place of their prefixes.
func splitByByte(entries []pathEntry, at int) (parts [][]pathEntry) {
	for len(entries) > 0 {
		i := 1
		for i < len(entries) && entries[i].prefix[at] == entries[0].prefix[at] {
			i++
		}
		parts = append(parts, entries[:i])
		entries = entries[i:]
	}
	return parts
}
