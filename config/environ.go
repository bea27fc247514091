package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// nodePrefix begins the names of environment variables that override keys of
// the node: BULWARK_NODE_LOG_LEVEL is node.log.level.
const nodePrefix = "BULWARK_NODE_"

// overrideNode returns the node with the values of the environment put in.
func (l *loader) overrideNode(n *yaml.Node) *yaml.Node {
	environ := slices.Clone(l.from.Environ())
	slices.Sort(environ) // so that a record comes before its own fields
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		rest, ok := strings.CutPrefix(name, nodePrefix)
		if !ok {
			continue
		}
		path, field := findVariable(nodeType.Fields(), rest)
		if field == nil {
			l.report.Add(&Error{
				Place: schema.Place{Source: name}, Reason: "unknown variable",
				Suggestion: schema.Nearest(name, variables(nodePrefix, nodeType.Fields())),
			})
			continue
		}
		if node := l.variable(name, value, field); node != nil {
			n = setPath(n, path, node)
		}
	}
	return n
}

// findVariable returns the path of the field that a variable names.
func findVariable(fields []*schema.Field, name string) (path []string, field *schema.Field) {
	for _, f := range fields {
		upper := strings.ToUpper(f.Name)
		if name == upper {
			return []string{f.Name}, f
		}
		if rest, ok := strings.CutPrefix(name, upper+"_"); ok && len(f.Fields) > 0 {
			if path, field := findVariable(f.Fields, rest); field != nil {
				return append([]string{f.Name}, path...), field
			}
		}
	}
	return nil, nil
}

// variables lists the names of all variables.
func variables(prefix string, fields []*schema.Field) []string {
	var names []string
	for _, f := range fields {
		name := prefix + strings.ToUpper(f.Name)
		names = append(names, name)
		names = append(names, variables(name+"_", f.Fields)...)
	}
	return names
}

// variable turns the value of a variable into a node: text as it is, anything
// else by the rules of YAML.
func (l *loader) variable(name, value string, field *schema.Field) *yaml.Node {
	var n *yaml.Node
	switch {
	case value == "":
		n = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	case field.Kind == "string":
		n = text(&yaml.Node{}, value)
	default:
		r := &schema.Report{}
		n = schema.Parse([]byte(value), r)
		errs, _ := r.Errors()
		for _, e := range errs {
			e.Place = schema.Place{Path: e.Path, Source: name}
			l.report.Add(e)
		}
		if len(errs) > 0 {
			return nil
		}
	}
	l.report.SetSource(n, name)
	return n
}

// setPath returns a copy of a mapping in which the value at a path is set.
func setPath(n *yaml.Node, path []string, value *yaml.Node) *yaml.Node {
	if n == nil || n.Tag == "!!null" {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	if n.Kind != yaml.MappingNode {
		return n // decoding reports it
	}
	if len(path) > 1 {
		_, inner := pair(n, path[0])
		value = setPath(inner, path[1:], value)
	}
	return with(without(n, path[0]), path[0], value)
}
