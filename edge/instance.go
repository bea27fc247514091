package edge

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// instance is a built plugin. Snapshots that have it share it, state and all.
type instance struct {
	entity *config.Plugin // that it was built from
	kind   plugins.Kind
	order  int
	plugin any
	build  uint64       // its number, which no other instance of the process has
	users  atomic.Int64 // snapshots that serve or are not retired yet
}

// placed is an instance and where it runs in one snapshot: an adopted one may
// have been moved to another scope. A listener's own has none.
type placed struct {
	*instance
	scope     scope
	protocols []config.Protocol
}

func (in *instance) close(log *slog.Logger) {
	c, ok := in.plugin.(io.Closer)
	if !ok {
		return
	}
	if err := c.Close(); err != nil {
		log.Error("closing a plugin", "plugin", in.kind.Name, "id", in.entity.ID.String(), "error", err.Error())
	}
}

// tellPlugins tells the instances that follow configurations that theirs is about
// to serve.
func (s *Snapshot) tellPlugins() {
	for _, in := range s.plugins {
		if f, ok := in.plugin.(plugins.Follower); ok {
			f.Follow(s.Config)
		}
	}
}

// sharedLog is an access log that snapshots share.
type sharedLog struct {
	*telemetry.LineLog
	users atomic.Int64
}

// buildPlugins builds the enabled plugins, or adopts them.
func (c *compiler) buildPlugins() error { return c.buildPluginsOf("") }

// buildPluginsOf is buildPlugins for those of one kind; of all if it is "".
func (c *compiler) buildPluginsOf(kind string) error {
	var errs []error
	for _, e := range c.cfg.Plugins.All() {
		if !e.Enabled || kind != "" && e.Name != kind {
			continue
		}
		if _, err := c.buildPlugin(e); err != nil {
			errs = append(errs, fmt.Errorf("building plugin %q (%s): %w", e.Name, e.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (c *compiler) buildPlugin(e *config.Plugin) (*instance, error) {
	order := kindIndex(c.env.Kinds, e.Name)
	if order < 0 {
		return nil, fmt.Errorf("BUG: kind %q passed validation", e.Name)
	}
	if old := c.prev.plugins[e.ID]; old != nil && old.order == order && old.builtFor(e) && c.sameAuthorities(e) {
		outdated, err := c.outdated(old.instance, e)
		if err != nil {
			return nil, err
		}
		if !outdated {
			return c.place(old.instance, e), nil
		}
		if c.touched != nil {
			c.touched.plugin(e) // of the entity itself nothing has changed
		}
	}
	kind := c.env.Kinds[order]
	built, err := kind.Build(e.Config, c.pluginEnv(e))
	if err != nil {
		return nil, err
	}
	return c.place(&instance{entity: e, kind: kind, order: order, plugin: built, build: c.env.State.NextBuild()}, e), nil
}

func (c *compiler) pluginEnv(e *config.Plugin) plugins.Env {
	env := plugins.Env{
		Log:     c.env.Log.With("plugin", e.Name, "plugin_id", e.ID.String()),
		Metrics: c.env.Metrics,
		State:   c.env.State,
		Bans:    c.env.Bans,
		Config:  c.cfg,
		Peers:   c.env.Peers,

		Checking: c.env.checking,
	}
	if c.snap.accessLog != nil {
		env.Access = c.snap.accessLog.LineLog
	}
	return env
}

// outdated reports whether an instance depends on something beside its entity e
// that is another now.
func (c *compiler) outdated(in *instance, e *config.Plugin) (bool, error) {
	if d, ok := in.plugin.(plugins.Dependent); ok {
		return d.Outdated(c.pluginEnv(e))
	}
	return false, nil
}

// place makes an instance one of the snapshot's.
func (c *compiler) place(in *instance, e *config.Plugin) *instance {
	c.snap.plugins[e.ID] = &placed{in, scope{e.Route.ID, e.Service.ID, e.Consumer.ID}, e.Protocols}
	return in
}

// builtFor reports whether building e would make the same instance again. The
// values are compared themselves: as JSON two secrets look alike.
func (in *instance) builtFor(e *config.Plugin) bool {
	return in.entity == e || in.entity.Name == e.Name && reflect.DeepEqual(in.entity.Config, e.Config)
}

// sameAuthorities reports whether the ca_certificates that an instance of e was
// built with are still the same.
func (c *compiler) sameAuthorities(e *config.Plugin) bool {
	t, ok := e.Config.(config.Truster)
	if !ok {
		return true
	}
	for _, id := range t.Authorities() {
		ca, _ := c.cfg.CACertificates.Get(id)
		if old, ok := c.prev.Config.CACertificates.Get(id); !ok || old.CertDigest != ca.CertDigest {
			return false
		}
	}
	return true
}

func kindIndex(kinds []plugins.Kind, name string) int {
	for i := range kinds {
		if kinds[i].Name == name {
			return i
		}
	}
	return -1
}
