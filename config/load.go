package config

import (
	"cmp"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Kinds knows the plugins. An implementation that also has a method
// Names() []string makes "did you mean" hints and documents possible; one with
// Allows(plugin, scope string) bool says which entities a plugin may be limited
// to: scope is "service", "route", "consumer", or "" for none; and whether it
// may stand on a "listener". One with Speaks(plugin string, p Protocol) bool and
// Protocols(plugin string) []Protocol says which protocols a plugin knows, and
// which an instance has that names none; nil stands for Kong's default.
type Kinds interface {
	// Schema returns the description of a plugin's configuration.
	Schema(plugin string) (*schema.Type, bool)
}

// Origin says where a file came from and how its references are resolved.
// The zero value reads from the operating system.
type Origin struct {
	// Path is the file's name in messages. Its directory is where relative
	// paths of {vault://file/...} begin.
	Path string
	// LookupEnv is os.LookupEnv if nil.
	LookupEnv func(string) (string, bool)
	// ReadFile is os.ReadFile if nil.
	ReadFile func(string) ([]byte, error)
	// Environ is os.Environ if nil. It is searched for BULWARK_NODE_ variables.
	Environ func() []string
}

// header is the part of a declarative file that is about the file itself.
type header struct {
	FormatVersion string `json:"_format_version" required:"true" enum:"1.1,2.1,3.0" doc:"Version of the format. In older versions than 3.0 paths that look like regular expressions are taken as such."`
	Transform     bool   `json:"_transform" default:"true" doc:"False if passwords are stored as they are written."`
	Comment       string `json:"_comment" vault:"false" len_min:"0" doc:"Not read."`
	Ignore        []any  `json:"_ignore" doc:"Not read."`
	Info          any    `json:"_info" doc:"Written by decK; not read."`
}

// Load reads a declarative file. Every error is reported at once, as *Errors.
// Plugin configurations are decoded by their kind; nil kinds know no plugin.
func Load(src []byte, kinds Kinds, from Origin) (*Config, error) {
	from.Path = cmp.Or(from.Path, "configuration")
	if from.LookupEnv == nil {
		from.LookupEnv = os.LookupEnv
	}
	if from.ReadFile == nil {
		from.ReadFile = os.ReadFile
	}
	if from.Environ == nil {
		from.Environ = os.Environ
	}
	l := newLoader(kinds, from)
	if root := schema.Parse(src, l.report); root != nil {
		l.document(root)
	}
	if l.report.Failed() {
		return nil, newErrors(from.Path, l.report)
	}
	return l.cfg, nil
}

// loader is the state of one Load.
type loader struct {
	report   *schema.Report
	kinds    Kinds
	from     Origin
	vault    *vault
	cfg      *Config
	types    map[string]*kind
	declared []*declared
	inner    []schema.Pending // references inside configurations of listeners' plugins
	policies schema.Place     // of node.tls.policies
	spaces   map[string]ID    // namespace of generated ids by kind
	content  map[ID]int       // how often content gave the same id
}

func newLoader(kinds Kinds, from Origin) *loader {
	v := newVault(from)
	l := &loader{
		report: &schema.Report{Resolve: v.resolve}, kinds: kinds, from: from, vault: v, cfg: &Config{},
		spaces: make(map[string]ID), content: make(map[ID]int),
	}
	l.types = entityKinds(l.cfg)
	return l
}

// document reads the whole tree.
func (l *loader) document(root *yaml.Node) {
	type section struct {
		name  string
		value *yaml.Node
	}
	var sections []section
	var node *yaml.Node
	v, _ := headerType.Decode(l.report, root, func(key, value *yaml.Node) bool {
		switch {
		case key.Value == "node":
			node = value
		case l.types[key.Value] != nil:
			sections = append(sections, section{key.Value, value})
		case unservedNames[key.Value]:
			l.report.Reject(key, schema.ReasonUnserved, "this key to be left out")
		default:
			l.report.Unknown(key, l.topLevelNames())
		}
		return true
	})
	if root.Kind != yaml.MappingNode {
		return
	}
	if h := v.(*header); h.FormatVersion != "3.0" && h.FormatVersion != "" {
		migratePaths(root)
	}
	l.node(node)
	for _, s := range sections {
		l.report.Enter(s.name)
		l.collection(s.name, s.value, nil)
		l.report.Leave()
	}
	l.link()
	l.cfg.Hash = contentHash(root)
	l.cfg.Files = l.vault.list()
}

// topLevelNames returns the keys a file may have.
func (l *loader) topLevelNames() []string {
	names := []string{"_format_version", "_transform", "_comment", "_ignore", "_info", "node"}
	for name := range l.types {
		names = append(names, name)
	}
	return names
}

// node reads the node key and its overrides from the environment.
func (l *loader) node(n *yaml.Node) {
	n = l.overrideNode(n)
	l.report.Enter("node")
	v, _ := nodeType.Decode(l.report, n, nil)
	if n != nil {
		l.policies = l.report.Place(n).Field("tls").Field("policies")
	}
	l.report.Leave()
	l.cfg.Node = *v.(*Node)
	l.listenerPlugins(&l.cfg.Node, n)
}
