package l7

import (
	"encoding/json"
	"sync/atomic"
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

	text logText
}

// LogJSON returns the entity as it stands in a log entry. It is not to be
// changed.
func (r *Route) LogJSON() []byte { return r.text.of(r.Entity) }

// Service is a compiled service. It is immutable once its snapshot serves, and
// may be part of several.
type Service struct {
	Entity   *config.Service
	Balancer *upstream.Balancer
	Hash     *HashPolicy        // what the balancer's consistent hashing goes by; nil: nothing
	Identity *upstream.Identity // how TLS to it is spoken; nil for http
	Host     string             // the Host field it is sent, "" for the target's own name
	Path     string             // the service's path, "" or with a leading slash

	Tries          int // 1 + retries
	ConnectTimeout time.Duration
	WriteTimeout   time.Duration
	ReadTimeout    time.Duration

	text logText
}

// LogJSON returns the entity as it stands in a log entry. It is not to be
// changed.
func (s *Service) LogJSON() []byte { return s.text.of(s.Entity) }

// logText is an entity as JSON, made when it is first asked for and then kept:
// with thousands of routes, of which a few see traffic, making it beforehand
// was most of the time and a third of the memory of a snapshot.
type logText struct{ made atomic.Pointer[[]byte] }

func (t *logText) of(entity json.Marshaler) []byte {
	if b := t.made.Load(); b != nil {
		return *b
	}
	b, err := entity.MarshalJSON()
	if err != nil {
		b = []byte("null") // a value that was decoded can be encoded
	}
	t.made.Store(&b)
	return b
}
