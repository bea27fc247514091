package config

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// declared is an entity that was read, before its references are resolved.
type declared struct {
	kind    *kind
	entity  entity
	place   schema.Place
	parent  *declared        // nil at the top level
	pending []schema.Pending // references that are fields of the entity
	inner   []schema.Pending // references inside a plugin's configuration
}

func (d *declared) id() ID {
	id, _ := d.entity.identity()
	return *id
}

// child is a nested collection of an entity.
type child struct {
	name  string
	value *yaml.Node
}

// collection reads a list of entities.
func (l *loader) collection(name string, n *yaml.Node, parent *declared) {
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		l.fail(n, "expected an array", "a list of "+name)
		return
	}
	k := l.types[name]
	for i, item := range n.Content {
		l.report.EnterIndex(i)
		l.item(k, item, parent)
		l.report.Leave()
	}
}

func (l *loader) fail(n *yaml.Node, reason, expected string) {
	l.report.Add(&Error{Place: l.report.Place(n), Reason: reason, Expected: expected})
}

// item reads one entity and what is nested in it.
func (l *loader) item(k *kind, n *yaml.Node, parent *declared) {
	if k.name == KindSNI && parent != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n = record(n, "name", n)
	}
	written := n
	var children []child
	if n.Kind == yaml.MappingNode {
		n = l.prepare(k, n, parent, &children)
	}
	v, refs := k.typ.Decode(l.report, n, func(key, value *yaml.Node) bool {
		return l.extra(k, key, value, &children)
	})
	d := &declared{kind: k, entity: v.(entity), place: l.report.Place(written), parent: parent, pending: l.report.TakePending()}
	if p, ok := v.(*Plugin); ok {
		refs = l.pluginConfig(p, n, refs)
		d.inner = l.report.TakePending()
	}
	d.entity.keep(refs)
	if n.Kind != yaml.MappingNode {
		return
	}
	l.identify(d, n, written)
	k.add(d.entity)
	l.declared = append(l.declared, d)
	for _, c := range children {
		l.report.Enter(c.name)
		l.collection(c.name, c.value, d)
		l.report.Leave()
	}
}

// prepare returns a copy of the mapping in which shorthands are spelled out:
// the reference to the parent is written, and a service's url is split.
func (l *loader) prepare(k *kind, n *yaml.Node, parent *declared, children *[]child) *yaml.Node {
	if k.name == KindCertificate {
		if _, snis := pair(n, KindSNI); snis != nil {
			n = without(n, KindSNI)
			*children = append(*children, child{KindSNI, snis})
		}
	}
	if k.name == KindService {
		n = l.splitURL(n)
	}
	if parent == nil {
		return n
	}
	field := parent.kind.children[k.name]
	if _, v := pair(n, field); v == nil || v.Tag == "!!null" {
		n = with(n, field, parent.reference(n))
	}
	return n
}

// extra handles the keys of an entity that are none of its fields.
func (l *loader) extra(k *kind, key, value *yaml.Node, children *[]child) bool {
	name := key.Value
	_, nested := k.children[name]
	switch {
	case name == "_comment" || name == "_ignore":
		return true
	case nested:
		*children = append(*children, child{name, value})
		return true
	case unservedNames[name]:
		l.report.Reject(key, schema.ReasonUnserved, "this key to be left out")
		return true
	}
	var known []string
	for _, f := range k.typ.Fields() {
		known = append(known, f.Name)
	}
	for c := range k.children {
		known = append(known, c)
	}
	if k.name == KindService {
		known = append(known, "url")
	}
	slices.Sort(known)
	l.report.Unknown(key, known)
	return true
}

// pluginConfig decodes the configuration of a plugin by its kind.
func (l *loader) pluginConfig(p *Plugin, n *yaml.Node, refs schema.References) schema.References {
	var more schema.References
	p.Config, p.kind, more = l.decodeConfig(p.Name, p.Config, n)
	l.defaultProtocols(p, n)
	for path, ref := range more {
		if refs == nil {
			refs = make(schema.References)
		}
		sep := "."
		if path[0] == '[' {
			sep = ""
		}
		refs["config"+sep+path] = ref
	}
	return refs
}

// decodeConfig decodes what an instance of the plugin name has written as its
// configuration; n is where the instance stands. The kind is nil if there is no
// such plugin, which is reported.
func (l *loader) decodeConfig(name string, written any, n *yaml.Node) (cfg any, kind *schema.Type, refs schema.References) {
	raw, _ := written.(*yaml.Node)
	if name == "" {
		return nil, nil, nil
	}
	var t *schema.Type
	if l.kinds != nil {
		t, _ = l.kinds.Schema(name)
	}
	if t == nil {
		_, at := pair(n, "name")
		l.report.Enter("name")
		l.report.Add(&Error{
			Place: l.report.Place(at), Suggestion: schema.Nearest(name, names(l.kinds)),
			Reason: "plugin '" + name + "' not enabled; add it to the 'plugins' configuration property",
		})
		l.report.Leave()
		return nil, nil, nil
	}
	if raw == nil {
		raw = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Column: n.Column}
	}
	l.report.Enter("config")
	cfg, refs = t.Decode(l.report, raw, nil)
	l.report.Leave()
	return cfg, t, refs
}

// names returns the plugins that kinds knows, if it tells.
func names(kinds Kinds) []string {
	if n, ok := kinds.(interface{ Names() []string }); ok {
		return n.Names()
	}
	return nil
}

// pair returns a key of a mapping and its value.
func pair(n *yaml.Node, key string) (k, v *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// reference returns a reference to the entity, at the place of another node.
func (d *declared) reference(at *yaml.Node) *yaml.Node {
	var nodes struct {
		record, key, id yaml.Node
		content         [2]*yaml.Node
	}
	nodes.record = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
	nodes.key = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "id", Line: at.Line, Column: at.Column}
	nodes.id = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: d.id().String(), Line: at.Line, Column: at.Column}
	nodes.content = [2]*yaml.Node{&nodes.key, &nodes.id}
	nodes.record.Content = nodes.content[:]
	return &nodes.record
}

// without returns a copy of a mapping that lacks a key, or the mapping itself
// if it does.
func without(n *yaml.Node, key string) *yaml.Node {
	if k, _ := pair(n, key); k == nil {
		return n
	}
	c := *n
	c.Content = make([]*yaml.Node, 0, len(n.Content)+2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			c.Content = append(c.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &c
}

// with returns a copy of a mapping in which a key has another value, or which
// has one more key.
func with(n *yaml.Node, key string, value *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, 0, len(n.Content)+2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			c.Content = append(c.Content, n.Content[i], n.Content[i+1])
		}
	}
	c.Content = append(c.Content, text(value, key), value)
	return &c
}

// record returns a mapping of one key at the place of another node.
func record(at *yaml.Node, key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{
		Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column,
		Content: []*yaml.Node{text(at, key), value},
	}
}

// text returns a string at the place of another node.
func text(at *yaml.Node, s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Line: at.Line, Column: at.Column}
}
