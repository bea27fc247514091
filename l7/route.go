package l7

import (
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Route is a compiled route: what the router returns and the pipeline obeys.
// It is immutable once its snapshot serves, and may be part of several.
type Route struct {
	Entity  *config.Route
	Service *Service // nil: only a plugin can answer
	Plan    *Plan    // what runs while no consumer is known

	HTTP  bool // protocols has http
	HTTPS bool // protocols has https
	GRPC  bool // protocols has grpc
	GRPCS bool // protocols has grpcs

	text config.LogText
}

// LogJSON returns the entity as it stands in a log entry. It is not to be
// changed.
func (r *Route) LogJSON() []byte { return r.text.Of(r.Entity) }

// Service is a compiled service. It is immutable once its snapshot serves, and
// may be part of several.
type Service struct {
	Entity   *config.Service
	Balancer *upstream.Balancer
	Hash     *HashPolicy        // what the balancer's consistent hashing goes by; nil: nothing
	Identity *upstream.Identity // how TLS to it is spoken; nil for http
	Host     string             // the Host field it is sent, "" for the target's own name
	Path     string             // the service's path, "" or with a leading slash
	HTTP2    bool               // it speaks HTTP/2: grpc and grpcs

	Tries          int // 1 + retries
	ConnectTimeout time.Duration
	WriteTimeout   time.Duration
	ReadTimeout    time.Duration

	text config.LogText
}

// LogJSON returns the entity as it stands in a log entry. It is not to be
// changed.
func (s *Service) LogJSON() []byte { return s.text.Of(s.Entity) }
