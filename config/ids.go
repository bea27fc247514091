package config

import (
	"crypto/md5" // Kong's configuration hash is MD5; nothing rests on its strength.
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// idRoot is the namespace from which Kong makes the ids that a declarative
// file leaves out (kong/db/schema/others/declarative_config.lua).
const idRoot = "fd02801f-0957-4a15-a55a-c8d9606f30b5"

// identify gives an entity without an id the one that Kong would make: a UUID
// of its lookup key or of what makes it unique, in a namespace made of the
// collection's name. Where Kong makes a random one, the id is made from the
// content, so that a reload keeps it.
func (l *loader) identify(d *declared, n, written *yaml.Node) {
	id, key := d.entity.identity()
	if !id.IsZero() {
		return
	}
	switch e := d.entity.(type) {
	case *Plugin:
		key = ""
		if e.Name != "" {
			key = cacheKey(KindPlugin, e.Name, d.refText("route"), d.refText("service"), d.refText("consumer"))
		}
	case *Target:
		_, target := pair(n, "target")
		if up := d.refText("upstream"); target != nil && up != "" {
			key = cacheKey(KindTarget, up, target.Value)
		}
	case *MTLSAuthCredential:
		key = d.subjectKey(e.SubjectName)
	case *HeaderCertAuthCredential:
		key = d.subjectKey(e.SubjectName)
	}
	if key != "" {
		*id = schema.NameID(l.space(d.kind.name), key)
		return
	}
	*id = l.contentID(d, written)
}

// subjectKey returns what makes a credential unique, "" if it has no name.
func (d *declared) subjectKey(name string) string {
	if name == "" {
		return ""
	}
	return cacheKey(d.kind.name, name, d.refText("ca_certificate"))
}

// refText returns a reference as it was written; for a nested entity that of
// its parent is the parent's id. Kong leaves references written as records out
// of the key, which can give two plugins one id; here they count.
func (d *declared) refText(field string) string {
	for _, p := range d.pending {
		if p.Field == field {
			return p.Key
		}
	}
	return ""
}

// cacheKey joins the parts as Kong does; the asterisk stands for the workspace.
func cacheKey(kind string, parts ...string) string {
	key := kind + ":*"
	for _, p := range parts {
		key += ":" + p
	}
	return key
}

// space returns the namespace of the ids of a kind.
func (l *loader) space(kind string) ID {
	ns, ok := l.spaces[kind]
	if !ok {
		root, err := ParseID(idRoot)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		ns = schema.NameID(root, kind)
		l.spaces[kind] = ns
	}
	return ns
}

// contentID makes an id from what was written. Equal entities are numbered.
func (l *loader) contentID(d *declared, n *yaml.Node) ID {
	h := sha256.New()
	if d.parent != nil {
		id := d.parent.id()
		h.Write(id[:])
	}
	hashNode(h, n)
	ns := l.space(d.kind.name)
	key := "content:" + hex.EncodeToString(h.Sum(nil))
	id := schema.NameID(ns, key)
	l.content[id]++
	if again := l.content[id]; again > 1 {
		return schema.NameID(ns, key+":"+strconv.Itoa(again))
	}
	return id
}

// contentHash returns the MD5 of everything but the node key.
func contentHash(root *yaml.Node) string {
	h := md5.New()
	hashNode(h, without(root, "node"))
	return hex.EncodeToString(h.Sum(nil))
}

// hashNode feeds a tree to h without its layout. Every value is framed by its
// kind and length, so that different trees give different bytes.
func hashNode(h hash.Hash, n *yaml.Node) {
	f := framer{h: h, b: make([]byte, 0, framerBytes)}
	f.node(n)
	h.Write(f.b)
}

// framer gathers what is hashed: a call for each value, and the memory for its
// frame, would cost more than the hash.
type framer struct {
	h hash.Hash
	b []byte
}

// framerBytes is how much is gathered.
const framerBytes = 4 << 10

func (f *framer) node(n *yaml.Node) {
	count := len(n.Content)
	kind := byte('[')
	switch n.Kind {
	case yaml.MappingNode:
		kind = '{'
	case yaml.ScalarNode:
		kind, count = 's', len(n.Value)
		if len(n.Tag) > 2 {
			kind = n.Tag[2] // str, int, float, bool, null differ in their first letter
		}
	}
	f.b = append(strconv.AppendInt(append(f.b, kind), int64(count), 10), ':')
	if n.Kind == yaml.ScalarNode {
		f.b = append(f.b, n.Value...)
	}
	if len(f.b) >= framerBytes/2 {
		f.h.Write(f.b)
		f.b = f.b[:0]
	}
	for _, c := range n.Content {
		f.node(c)
	}
}
