package l7

import (
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/upstream"
)

// Route is a compiled route: what the router returns and the pipeline obeys.
// It is immutable once its snapshot serves.
type Route struct {
	Entity  *config.Route
	Service *Service // nil: only a plugin can answer
	Plan    *Plan    // what runs while no consumer is known
	LogJSON []byte   // the entity as it stands in a log entry

	HTTP  bool // protocols has http
	HTTPS bool // protocols has https
}

// Service is a compiled service. It is immutable once its snapshot serves.
type Service struct {
	Entity   *config.Service
	Balancer *upstream.Balancer
	Hash     *HashPolicy        // what the balancer's consistent hashing goes by; nil: nothing
	Identity *upstream.Identity // how TLS to it is spoken; nil for http
	Host     string             // the Host field it is sent, "" for the target's own name
	Path     string             // the service's path, "" or with a leading slash
	LogJSON  []byte             // the entity as it stands in a log entry

	Tries          int // 1 + retries
	ConnectTimeout time.Duration
	WriteTimeout   time.Duration
	ReadTimeout    time.Duration
}
