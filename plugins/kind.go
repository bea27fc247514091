package plugins

import (
	"fmt"
	"log/slog"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/issuer"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// Scope is a set of entities that an instance may be limited to.
type Scope uint8

// The scopes. Global is an instance that is limited to nothing.
const (
	Global Scope = 1 << iota
	Service
	Route
	Consumer

	// Listener is an instance of node.listeners[].plugins. A kind that may be one
	// and implements l4.ConnHook judges connections there, and nothing else; any
	// other runs before all instances of the other scopes.
	Listener

	// Anywhere is every scope of Kong's.
	Anywhere = Global | Service | Route | Consumer
	// NotConsumer is for kinds that run before a consumer is known.
	NotConsumer = Global | Service | Route
)

// Proto is a set of protocols a kind can act on.
type Proto uint8

// The protocols.
const (
	HTTP   Proto = 1 << iota // http, https and in time grpc and grpcs
	Stream                   // tcp, tls, tls_passthrough and udp
)

// Spec is what a kind declares. C is the struct its configuration is decoded
// into; see package config/schema for its tags.
type Spec[C any] struct {
	Name   string // Kong's name of the plugin
	Scopes Scope
	Speaks Proto

	// Protocols are those of an instance that names none. Nil stands for Kong's
	// default, grpc, grpcs, http and https, or for all of streams if the kind
	// speaks nothing else.
	Protocols []config.Protocol

	// New builds an instance. It has no side effects but through env, and what
	// it returns implements hooks of packages l7 and l4 and, if it holds anything,
	// io.Closer. Instances do not share state unless they do so on purpose.
	New func(cfg C, env Env) (any, error)
}

// Env is what an instance is given.
type Env struct {
	Log     *slog.Logger
	Metrics *telemetry.Metrics // what the edge counts
	State   *State             // what outlives a reload
	Bans    *l4.Bans           // clients that no listener lets in for a while
	Config  *config.Config     // that the instance is part of; see config.Truster
	Peers   *peer.Revocation   // what is known of certificates that were revoked
	Access  *telemetry.LineLog // the access log; nil: off

	// Checking is for an instance that is built to learn what is wrong with its
	// configuration, and then closed: it opens nothing to write to.
	Checking bool
}

// Asker is an instance that wants clients to be asked for a certificate, in the
// handshakes of the server names that its scope may be reached by.
type Asker interface {
	// ClientAuth returns what they are asked, by policy.Request; the caller does not
	// change it.
	ClientAuth() *policy.ClientAuth
}

// Dependent is an instance that depends on more than its own configuration, such
// as files or settings of the node. It is asked whenever a configuration is
// compiled in which its own is unchanged; if it is outdated another one is built
// in its place. An error refuses the configuration.
type Dependent interface {
	Outdated(env Env) (bool, error)
}

// Reopener is an instance with a log file, which Reopen opens anew after it was
// moved away. It is called when the access log is reopened, by any goroutine.
type Reopener interface{ Reopen() error }

// Follower is an instance that is told of every configuration, just before it
// serves. Calls come one at a time and must be short: all requests still go to
// the configuration before.
type Follower interface{ Follow(cfg *config.Config) }

// Orderer is an instance that has certificates ordered, on terms that do not
// change. They are asked for when it is built; it need not serve.
type Orderer interface{ Terms() issuer.Terms }

// Kind is a plugin as the edge knows it. Define makes one.
type Kind struct {
	Name      string
	Scopes    Scope
	Speaks    Proto
	Protocols []config.Protocol // of an instance that names none; nil: Kong's default
	Schema    *schema.Type      // of its configuration

	build func(cfg any, env Env) (any, error)
}

// Define returns the kind of s.
func Define[C any](s Spec[C]) Kind {
	if s.Protocols == nil && s.Speaks == Stream {
		s.Protocols = []config.Protocol{config.TCP, config.TLS, config.TLSPassthrough, config.UDP}
	}
	return Kind{
		Name:      s.Name,
		Scopes:    s.Scopes,
		Speaks:    s.Speaks,
		Protocols: s.Protocols,
		Schema:    schema.Of[C](),
		build: func(cfg any, env Env) (any, error) {
			c, ok := cfg.(*C)
			if !ok {
				return nil, fmt.Errorf("BUG: plugin %q was given a %T", s.Name, cfg)
			}
			return s.New(*c, env)
		},
	}
}

// Allows reports whether an instance may be limited to an entity: "service",
// "route" or "consumer", or to none, which is ""; and whether it may stand on a
// "listener".
func (k Kind) Allows(scope string) bool {
	switch scope {
	case "":
		return k.Scopes&Global != 0
	case "service":
		return k.Scopes&Service != 0
	case "route":
		return k.Scopes&Route != 0
	case "consumer":
		return k.Scopes&Consumer != 0
	case "listener":
		return k.Scopes&Listener != 0
	}
	return false
}

// Knows reports whether an instance may run on p.
func (k Kind) Knows(p config.Protocol) bool {
	if p.Stream() {
		return k.Speaks&Stream != 0
	}
	return k.Speaks&HTTP != 0
}

// Build returns an instance. cfg is what the kind's schema has decoded.
func (k Kind) Build(cfg any, env Env) (any, error) { return k.build(cfg, env) }
