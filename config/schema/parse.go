package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document.
const (
	// MaxDocument is the greatest number of bytes of a document.
	MaxDocument = 64 << 20
	// maxDepth is how deep lists and maps may be nested.
	maxDepth = 64
	// maxAliased is how many values aliases may stand for in all, so that a
	// few lines cannot expand to gigabytes.
	maxAliased = 200_000
)

// Tags of the YAML core schema, as the parser sets them.
const (
	tagString    = "!!str"
	tagInt       = "!!int"
	tagFloat     = "!!float"
	tagBool      = "!!bool"
	tagNull      = "!!null"
	tagMap       = "!!map"
	tagSeq       = "!!seq"
	tagMerge     = "!!merge"
	tagTimestamp = "!!timestamp"
)

// Parse reads one YAML or JSON document into a tree in which aliases and merge
// keys are replaced by what they stand for. It returns nil after reporting
// what makes the document unreadable; an empty document is an empty map.
func Parse(src []byte, r *Report) *yaml.Node {
	fatal := func(line, column int, reason, expected string) *yaml.Node {
		r.Add(&Error{Place: Place{Line: line, Column: column}, Reason: reason, Expected: expected})
		return nil
	}
	if len(src) > MaxDocument {
		return fatal(1, 1, "the document has "+strconv.Itoa(len(src))+" bytes", "at most "+strconv.Itoa(MaxDocument))
	}
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(src) {
		line, column := invalidUTF8(src)
		return fatal(line, column, "the document is not valid UTF-8", "")
	}
	var root *yaml.Node
	if json.Valid(src) {
		root = parseJSON(src)
	} else {
		var doc, next yaml.Node
		dec := yaml.NewDecoder(bytes.NewReader(src))
		if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
			line, reason := yamlError(err)
			return fatal(line, 1, reason, "")
		}
		if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
			if err != nil {
				line, reason := yamlError(err)
				return fatal(line, 1, reason, "")
			}
			return fatal(max(next.Line, 1), 1, "the file holds more than one YAML document", "one document")
		}
		if len(doc.Content) > 0 {
			root = doc.Content[0]
		}
	}
	if root == nil {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: tagMap, Line: 1, Column: 1}
	}
	c := cleaner{r: r}
	root = c.clean(root, 0, false)
	if c.stop {
		return nil
	}
	return root
}

// yamlLine finds the position in the parser's message.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func yamlError(err error) (line int, reason string) {
	msg := err.Error()
	m := yamlLine.FindStringSubmatch(msg)
	line = 1
	if m == nil {
		return line, "not valid YAML near this line: " + msg
	}
	if n, err := strconv.Atoi(m[1]); err == nil {
		line = n
	}
	return line, "not valid YAML near this line: " + strings.TrimPrefix(msg, m[0])
}

func invalidUTF8(src []byte) (line, column int) {
	line, column = 1, 1
	for len(src) > 0 {
		c, n := utf8.DecodeRune(src)
		if c == utf8.RuneError && n == 1 {
			break
		}
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
		src = src[n:]
	}
	return line, column
}

// cleaner turns a parsed tree into one of plain scalars, lists and maps.
type cleaner struct {
	r       *Report
	aliased int
	stop    bool // the rest of the document cannot be read
}

// clean returns the node that n stands for. A tree below an alias was cleaned
// where it was written, so there it is only counted.
func (c *cleaner) clean(n *yaml.Node, depth int, aliased bool) *yaml.Node {
	if c.stop {
		return n
	}
	if aliased {
		c.aliased++
	}
	if depth > maxDepth || c.aliased > maxAliased {
		c.stop = true
		reason := "nested deeper than " + strconv.Itoa(maxDepth) + " levels"
		if depth <= maxDepth {
			reason = "aliases stand for more than " + strconv.Itoa(maxAliased) + " values"
		}
		c.r.Add(&Error{Place: c.r.Place(n), Reason: reason})
		return n
	}
	switch n.Kind {
	case yaml.AliasNode:
		return c.clean(n.Alias, depth+1, true)
	case yaml.SequenceNode:
		c.tag(n, aliased, tagSeq)
		for i, v := range n.Content {
			c.r.EnterIndex(i)
			n.Content[i] = c.clean(v, depth+1, aliased)
			c.r.Leave()
		}
	case yaml.MappingNode:
		c.tag(n, aliased, tagMap)
		c.mapping(n, depth, aliased)
	case yaml.ScalarNode:
		c.scalar(n, aliased)
	}
	return n
}

func (c *cleaner) mapping(n *yaml.Node, depth int, aliased bool) {
	if !aliased {
		c.stringKeys(n)
	}
	merged := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		merged = merged || k.Tag == tagMerge
		c.r.Enter(k.Value)
		n.Content[i+1] = c.clean(n.Content[i+1], depth+1, aliased)
		c.r.Leave()
	}
	if !aliased {
		c.duplicates(n)
	}
	if merged && !c.stop {
		c.merge(n)
	}
}

// stringKeys reports keys that are no strings and takes their pairs out, so
// that nothing after it meets a key with content.
func (c *cleaner) stringKeys(n *yaml.Node) {
	kept := n.Content[:0]
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode && k.Alias.Kind == yaml.ScalarNode {
			k = k.Alias
		}
		if k.Tag == tagTimestamp {
			k.Tag = tagString
		}
		if k.Kind != yaml.ScalarNode || k.Tag != tagString && k.Tag != tagMerge {
			c.r.at(k, "expected a string as key", "a name, quoted if it looks like another type")
			continue
		}
		kept = append(kept, k, n.Content[i+1])
	}
	n.Content = kept
}

// manyKeys is from where on duplicates are sought with a map.
const manyKeys = 12

// duplicates reports keys that are written twice.
func (c *cleaner) duplicates(n *yaml.Node) {
	var seen map[string]*yaml.Node
	if len(n.Content) > 2*manyKeys {
		seen = make(map[string]*yaml.Node, len(n.Content)/2)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		var first *yaml.Node
		if seen != nil {
			first = seen[k.Value]
			seen[k.Value] = k
		} else {
			for j := 0; j < i && first == nil; j += 2 {
				if n.Content[j].Value == k.Value {
					first = n.Content[j]
				}
			}
		}
		if first != nil {
			c.r.Enter(k.Value)
			c.r.Add(&Error{
				Place: c.r.Place(k), Reason: "duplicate key",
				Expected: "each key once; it is first set on line " + strconv.Itoa(first.Line),
			})
			c.r.Leave()
		}
	}
}

// merge replaces the merge keys of a mapping by the pairs they bring that the
// mapping does not have itself.
func (c *cleaner) merge(n *yaml.Node) {
	own := make([]*yaml.Node, 0, len(n.Content))
	have := make(map[string]bool)
	var from []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Tag != tagMerge {
			own = append(own, k, v)
			have[k.Value] = true
			continue
		}
		if v.Kind == yaml.SequenceNode {
			from = append(from, v.Content...)
		} else {
			from = append(from, v)
		}
	}
	for _, m := range from {
		if m.Kind != yaml.MappingNode {
			c.r.at(m, "expected a map", "an alias of a map after the merge key <<")
			continue
		}
		c.aliased += len(m.Content)
		for i := 0; i+1 < len(m.Content); i += 2 {
			if k := m.Content[i]; !have[k.Value] {
				have[k.Value] = true
				own = append(own, k, m.Content[i+1])
			}
		}
	}
	n.Content = own
}

// scalar reports explicit tags that mean nothing here.
func (c *cleaner) scalar(n *yaml.Node, aliased bool) {
	if n.Tag == tagTimestamp && n.Style&yaml.TaggedStyle == 0 {
		n.Tag = tagString // a date is no type of its own here
	}
	c.tag(n, aliased, tagString, tagInt, tagFloat, tagBool, tagNull, tagMerge)
}

func (c *cleaner) tag(n *yaml.Node, aliased bool, known ...string) {
	if n.Style&yaml.TaggedStyle == 0 || aliased {
		return
	}
	for _, t := range known {
		if n.Tag == t {
			return
		}
	}
	c.r.Add(&Error{Place: c.r.Place(n), Reason: "unknown YAML tag", Found: Quote(n.Tag), Expected: "a value without a tag"})
}

// isNull reports whether n is a null.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == tagNull }
