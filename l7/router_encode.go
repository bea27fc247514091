package l7

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
)

// partBytes is how many bytes of nodes a tree is to have at most before it is
// cut into parts; what has fewer than leastPart is not cut off. A node itself
// has less than partBytes, and at most 256 children, so a tree has less than
// partBytes + 256*leastPart bytes: places in it are below inPart, and the
// candidates that are not in lists have indexes of two bytes.
const (
	partBytes = 2048
	leastPart = 64
)

// open returns the root of t as a node that can be changed. label is the
// beginning of its text that the parent has.
func (t *pathTree) open(label string) pathNode { return t.openNode(0, label) }

func (t *pathTree) openNode(at int, label string) (n pathNode) {
	head := number2(t.nodes, at)
	at += 2
	n.text = label + t.nodes[at:at+head&mostText]
	at += head & mostText
	if count := head >> itemsShift; count > 0 {
		n.items = t.itemsAt(at, count)
		at += 2
		if head&hasChildren != 0 {
			at += 8
		}
	}
	if head&hasChildren == 0 {
		return n
	}
	count := int(t.nodes[at]) + 1
	at++
	n.labels = t.nodes[at : at+count]
	at += count
	n.children = make([]pathNode, count)
	for i := range n.children {
		label, start := n.labels[i:i+1], number2(t.nodes, at+2*i)
		if start >= inPart {
			n.children[i] = pathNode{text: label, part: &t.more.parts[start-inPart]}
		} else {
			n.children[i] = t.openNode(start, label)
		}
	}
	if len(n.items) == 0 && count == 1 { // the beginning of a long text
		c := n.children[0].opened()
		c.text = n.text + c.text
		return c
	}
	return n
}

// opened returns n with its text and children, if it was a part so far.
func (n *pathNode) opened() pathNode {
	if n.part == nil {
		return *n
	}
	return n.part.open(n.text)
}

// weigh works out how the tree below n is encoded and what of it is cut off: as
// long as it is too large, the largest of n's children, and among equals the
// first. label is the number of bytes of its text that its parent has. What it
// decides depends on nothing but what is in the tree.
func (n *pathNode) weigh(label int) {
	if n.part != nil {
		n.bytes, n.count = len(n.part.nodes), len(n.part.items)
		return
	}
	if own := label + mostText; len(n.text) > own {
		rest := *n
		rest.text = n.text[own:]
		*n = pathNode{text: n.text[:own], labels: rest.text[:1], children: []pathNode{rest}}
	}
	n.bytes, n.count = n.ownBytes(label), len(n.items)
	if n.count >= listedItems {
		n.count = 0
	}
	for i := range n.children {
		c := &n.children[i]
		c.weigh(1)
		n.bytes, n.count = n.bytes+c.bytes, n.count+c.count
	}
	if n.bytes > partBytes {
		n.cutChildren()
	}
}

func (n *pathNode) cutChildren() {
	order := make([]*pathNode, len(n.children))
	for i := range order {
		order[i] = &n.children[i]
	}
	slices.SortStableFunc(order, func(a, b *pathNode) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, c := range order {
		if n.bytes <= partBytes || c.bytes < leastPart {
			return
		}
		c.cut = true
		n.bytes, n.count = n.bytes-c.bytes, n.count-c.count
	}
}

// ownBytes returns how many bytes the node takes by itself.
func (n *pathNode) ownBytes(label int) int {
	bytes := 2 + len(n.text) - label
	if len(n.items) > 0 {
		bytes += 2
		if len(n.children) > 0 {
			bytes += 8
		}
	}
	if len(n.children) > 0 {
		bytes += 1 + 3*len(n.children)
	}
	return bytes
}

// encoded returns the tree of a root. name stands in the string of its nodes in
// front of them, and is returned as cut from there: who has one in a cache has
// the other.
func (n *pathNode) encoded(name string) (t pathTree, key string) {
	n.weigh(0)
	text := n.encode(&t, 0, name)
	t.nodes = text[len(name):]
	return t, text[:len(name)]
}

func (n *pathNode) encode(t *pathTree, label int, name string) string {
	w := treeWriter{tree: t}
	w.text.Grow(len(name) + n.bytes)
	w.text.WriteString(name)
	w.start = len(name)
	if n.count > 0 {
		t.items = make([]candidate, 0, n.count)
	}
	w.node(n, label)
	return w.text.String()
}

// treeWriter writes a tree down.
type treeWriter struct {
	tree  *pathTree
	text  strings.Builder
	start int // where the nodes begin in it
}

func (w *treeWriter) node(n *pathNode, label int) {
	count := min(len(n.items), listedItems)
	head := len(n.text) - label | count<<itemsShift
	if len(n.children) > 0 {
		head |= hasChildren
	}
	w.number(uint64(head), 2)
	w.text.WriteString(n.text[label:])
	if count > 0 {
		w.items(n.items)
		if len(n.children) > 0 {
			w.number(n.items[0].priority, 8)
		}
	}
	if len(n.children) > 0 {
		w.children(n)
	}
}

// items writes where the candidates of a node are found.
func (w *treeWriter) items(items []candidate) {
	if len(items) < listedItems {
		w.number(uint64(len(w.tree.items)), 2)
		w.tree.items = append(w.tree.items, items...)
		return
	}
	m := w.more()
	w.number(uint64(len(m.lists)), 2)
	m.lists = append(m.lists, items)
}

func (w *treeWriter) children(n *pathNode) {
	w.text.WriteByte(byte(len(n.children) - 1))
	w.text.WriteString(n.labels)
	at := w.text.Len() - w.start + 2*len(n.children)
	for i := range n.children {
		c := &n.children[i]
		if c.cut {
			w.number(uint64(inPart+w.part(c)), 2)
			continue
		}
		w.number(uint64(at), 2)
		at += c.bytes
	}
	for i := range n.children {
		if c := &n.children[i]; !c.cut {
			w.child(c)
		}
	}
}

// child writes a child that stands in its parent's tree.
func (w *treeWriter) child(c *pathNode) {
	if c.part != nil {
		*c = c.opened()
		c.weigh(1)
	}
	w.node(c, 1)
}

// part adds a part and returns its index.
func (w *treeWriter) part(c *pathNode) int {
	m := w.more()
	if c.part != nil {
		m.parts = append(m.parts, *c.part)
	} else {
		var t pathTree
		t.nodes = c.encode(&t, 1, "")
		m.parts = append(m.parts, t)
	}
	return len(m.parts) - 1
}

func (w *treeWriter) more() *pathMore {
	if w.tree.more == nil {
		w.tree.more = &pathMore{}
	}
	return w.tree.more
}

// number writes a number in so many bytes.
func (w *treeWriter) number(n uint64, bytes int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	w.text.Write(b[:bytes])
}
