package config

import (
	"encoding/json"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// ListenerPlugin is a plugin that runs for everything on a listener, beside the
// instances that are entities.
type ListenerPlugin struct {
	Name   string `json:"name" required:"true" vault:"false" doc:"Which plugin this is. A listener has each at most once, and not every plugin can act on one."`
	Config any    `json:"config" doc:"Configuration, by the schema of the plugin."`
	ID     ID     `json:"-"` // made from the names of the listener and the plugin

	kind *schema.Type // describes Config, which points to its struct
	refs schema.References
}

// ScopeListener is what Kinds.Allows is asked for a plugin of a listener.
const ScopeListener = "listener"

// listenerPlugins decodes the configurations of the listeners' plugins, which
// the node n holds.
func (l *loader) listenerPlugins(node *Node, n *yaml.Node) {
	for i := range node.Listeners {
		plugins := node.Listeners[i].Plugins
		seen := make(map[string]bool)
		for j := range plugins {
			p := &plugins[j]
			at := element(element(n, "listeners", i), "plugins", j)
			l.report.Enter("node")
			l.report.Enter("listeners")
			l.report.EnterIndex(i)
			l.report.Enter("plugins")
			l.report.EnterIndex(j)
			l.listenerPlugin(p, at, seen[p.Name], node.Listeners[i].Serve)
			p.ID = schema.NameID(l.space("listeners"), cacheKey("listeners", node.Listeners[i].Name, p.Name))
			for range 5 {
				l.report.Leave()
			}
			seen[p.Name] = true
		}
	}
	l.inner = append(l.inner, l.report.TakePending()...)
}

func (l *loader) listenerPlugin(p *ListenerPlugin, at *yaml.Node, again bool, serve string) {
	p.Config, p.kind, p.refs = l.decodeConfig(p.Name, p.Config, at)
	if p.kind == nil {
		return // reported
	}
	fail := func(reason, expected string) {
		l.report.Add(&Error{Place: l.report.Place(at).Field("name"), Reason: reason, Expected: expected})
	}
	if again {
		fail("plugin '"+p.Name+"' is on this listener already", "another plugin")
	}
	acts := l.actors(serve)
	if acts == nil || acts(p.Name) {
		return
	}
	can := slices.DeleteFunc(slices.Clone(names(l.kinds)), func(name string) bool { return !acts(name) })
	where := "a listener"
	if all := l.actors(ServeHTTP); all != nil && all(p.Name) {
		where += " that serves '" + serve + "'"
	}
	fail("plugin '"+p.Name+"' cannot act on "+where, "one of: "+strings.Join(can, ", "))
}

// actors returns what tells which plugins may stand on a listener that serves
// something, nil if that is not known.
func (l *loader) actors(serve string) func(plugin string) bool {
	kinds, ok := l.kinds.(interface {
		Allows(plugin, scope string) bool
	})
	if !ok {
		return nil
	}
	speaks, ok := l.kinds.(speaker)
	if p := Protocol(serve); !ok || !p.Stream() {
		return func(plugin string) bool { return kinds.Allows(plugin, ScopeListener) }
	}
	return func(plugin string) bool {
		return kinds.Allows(plugin, ScopeListener) && speaks.Speaks(plugin, Protocol(serve))
	}
}

// element returns an element of the list that a mapping holds under a key, or
// nil.
func element(n *yaml.Node, key string, i int) *yaml.Node {
	if n == nil {
		return nil
	}
	_, list := pair(n, key)
	if list == nil || i >= len(list.Content) {
		return nil
	}
	return list.Content[i]
}

// MarshalJSON writes the node by its keys in the file.
func (n Node) MarshalJSON() ([]byte, error) {
	n.Listeners = slices.Clone(n.Listeners)
	for i := range n.Listeners {
		plugins := slices.Clone(n.Listeners[i].Plugins)
		for j, p := range plugins {
			if p.kind == nil {
				continue
			}
			b, err := p.kind.Marshal(p.Config, p.refs, nil)
			if err != nil {
				return nil, err
			}
			plugins[j].Config = json.RawMessage(b)
		}
		n.Listeners[i].Plugins = plugins
	}
	return nodeType.Marshal(&n, nil, nil)
}
