package edge

import (
	"context"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
)

// StreamServer serves streams in place of the edge's own server: plan is what
// runs for one, and release ends its hold of the snapshot.
type StreamServer interface {
	ServeConn(ctx context.Context, c *l4.Conn, r *l4.Route, plan *l4.Plan, p config.Protocol, release func())
	ServePackets(ctx context.Context, p *l4.Packets)
}

// SetStreams lets s serve the streams of listeners that open later.
func (e *Edge) SetStreams(s StreamServer) { e.streams = adapter{s} }

type adapter struct{ StreamServer }

func (a adapter) ServeConn(ctx context.Context, c *l4.Conn, s *site, r *l4.Route, p config.Protocol) {
	a.StreamServer.ServeConn(ctx, c, r, s.stream.plan(r), p, s.Release)
}

// Users returns how often a snapshot is held.
func (s *Snapshot) Users() int64 { return s.users.Load() }
