package l7

import (
	"strings"

	"github.com/bulwark-edge/bulwark/config/expr"
)

// pathTree is a radix tree over paths, which leads from a prefix to the
// candidates that stand there; the zero value is an empty one. It is immutable.
//
// A look-up in a large router meets memory that no cache holds, and costs what
// it fetches of that. So all nodes of a small tree are one string, behind each
// other as a search meets them, and the candidates one slice beside it. A large
// tree is cut into parts, which are trees of that kind, so that a change copies
// the parts on the way to it, and trees of several routers share the others.
// What is cut where follows from what the tree holds (see pathNode.weigh).
//
// A node is encoded as follows; numbers of two and eight bytes begin with their
// lowest.
//
//	length of its text | hasChildren | number of candidates << itemsShift, 2 bytes
//	text: what it adds to its parent's prefix, but for its label
//	if it has candidates:
//		index of the first among items, or, if their number is listedItems,
//		of their slice among more.lists, 2 bytes
//		if it has children: the priority of the first candidate, 8 bytes
//	if it has children:
//		their number less one, a byte
//		the label of each, sorted: the first byte of what it adds
//		where each begins, 2 bytes; or, from inPart on, an index into more.parts
//
// A node has candidates or at least two children; only what begins a text of
// more than mostText bytes has one child.
//
// With the host in front, this is a cache line: an entry of a map of hosts.
type pathTree struct {
	nodes string
	items []candidate // of all nodes, but for long lists
	more  *pathMore   // nil for most
}

// pathMore is what small trees have none of.
type pathMore struct {
	parts []pathTree
	lists [][]candidate
}

const (
	mostText    = 1<<8 - 1
	hasChildren = 1 << 8
	itemsShift  = 12
	listedItems = 15 // or more candidates are a list of their own
	inPart      = 1 << 15
)

func (t *pathTree) empty() bool { return t.nodes == "" }

// treeIdentity tells trees apart that were made by different changes.
type treeIdentity struct {
	items *candidate
	more  *pathMore
}

func (t *pathTree) identity() (id treeIdentity) {
	if len(t.items) > 0 {
		id.items = &t.items[0]
	}
	id.more = t.more
	return id
}

// search returns the most preferred of best, which may be nil, and the
// candidates that match q at the node of t that begins at the given place, and
// below it. path is what of the path is left there, and f is q as expressions
// see it. The longest prefix comes first: mostly what stands above it cannot
// beat it any more.
func (t *pathTree) search(at int, path string, q *Query, f *expr.Fields, best *candidate) *candidate {
	for {
		nodes := t.nodes
		head := number2(nodes, at)
		at += 2
		if text := head & mostText; text > 0 {
			if len(path) < text || path[:text] != nodes[at:at+text] {
				return best
			}
			at, path = at+text, path[text:]
		}
		if head>>itemsShift != 0 {
			return t.searchItems(head, at, path, q, f, best)
		}
		if path == "" {
			return best
		}
		if t, at = t.child(at, path[0]); t == nil {
			return best
		}
		path = path[1:]
	}
}

// searchItems is search from a node that has candidates, behind its text.
func (t *pathTree) searchItems(head, at int, path string, q *Query, f *expr.Fields, best *candidate) *candidate {
	if head&hasChildren != 0 {
		if path != "" {
			if below, start := t.child(at+2+8, path[0]); below != nil {
				best = below.search(start, path[1:], q, f, best)
			}
		}
		if best != nil && number8(t.nodes, at+2) < best.priority {
			return best
		}
	}
	items := t.itemsAt(at, head>>itemsShift)
	for i := range items {
		c := &items[i]
		if best != nil && c.compare(best) >= 0 {
			return best
		}
		if (c.port == anyPort || c.port == int32(q.Port)) && c.accepts(q, f) {
			return c
		}
	}
	return best
}

// child returns the child with a label of the node whose children are told at
// the given place: the tree that holds it and where it begins there. It returns
// nil for none.
func (t *pathTree) child(at int, label byte) (*pathTree, int) {
	nodes := t.nodes
	count := int(nodes[at]) + 1
	at++
	i := strings.IndexByte(nodes[at:at+count], label)
	if i < 0 {
		return nil, 0
	}
	start := number2(nodes, at+count+2*i)
	if start >= inPart {
		return &t.more.parts[start-inPart], 0
	}
	return t, start
}

// itemsAt returns so many candidates of a node, whose index stands at the given
// place.
func (t *pathTree) itemsAt(at, count int) []candidate {
	first := number2(t.nodes, at)
	if count == listedItems {
		return t.more.lists[first]
	}
	return t.items[first : first+count]
}

// number2 returns the number in the two bytes of s at the given place.
func number2(s string, at int) int {
	s = s[at : at+2]
	return int(s[0]) | int(s[1])<<8
}

// number8 returns the number in eight bytes.
func number8(s string, at int) uint64 {
	s = s[at : at+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
