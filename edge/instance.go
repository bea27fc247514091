package edge

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// pluginKey is what an instance must have in common with an old one to be
// adopted: the entity and its configuration.
type pluginKey struct {
	id     config.ID
	config [sha256.Size]byte
}

// instance is a built plugin. Snapshots that have it share it, state and all.
type instance struct {
	entity *config.Plugin
	kind   plugins.Kind
	order  int
	plugin any
	users  atomic.Int64 // snapshots that serve or are not retired yet
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
func (c *compiler) buildPlugins() error {
	var errs []error
	for _, e := range c.cfg.Plugins.All() {
		if !e.Enabled {
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
	text, err := json.Marshal(e.Config)
	if err != nil {
		return nil, err
	}
	key := pluginKey{e.ID, sha256.Sum256(append(text, e.Name...))}
	if old := c.prev.plugins[key]; old != nil && old.order == order {
		c.snap.plugins[key] = old
		return old, nil
	}
	kind := c.env.Kinds[order]
	built, err := kind.Build(e.Config, plugins.Env{
		Log:     c.env.Log.With("plugin", e.Name, "plugin_id", e.ID.String()),
		Metrics: c.env.Metrics,
		State:   c.env.State,
	})
	if err != nil {
		return nil, err
	}
	in := &instance{entity: e, kind: kind, order: order, plugin: built}
	c.snap.plugins[key] = in
	return in, nil
}

func kindIndex(kinds []plugins.Kind, name string) int {
	for i := range kinds {
		if kinds[i].Name == name {
			return i
		}
	}
	return -1
}
