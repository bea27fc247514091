package config

import (
	"iter"

	"github.com/bulwark-edge/bulwark/internal/index"
)

// Config is one whole configuration, immutable after Load.
type Config struct {
	// Node belongs to this process.
	Node Node

	// The desired state, one collection per kind of entity.

	Services       Collection[Service]       // what requests are proxied to
	Routes         Collection[Route]         // which requests go where
	Upstreams      Collection[Upstream]      // host names that stand for several targets
	Targets        Collection[Target]        // the servers of the upstreams
	Consumers      Collection[Consumer]      // users and client programs
	Plugins        Collection[Plugin]        // instances of plugins and their scopes
	Certificates   Collection[Certificate]   // certificates with their keys
	SNIs           Collection[SNI]           // server names of the certificates
	CACertificates Collection[CACertificate] // trusted authorities

	MTLSAuthCredentials       Collection[MTLSAuthCredential]       // whose certificates are whose, for mtls-auth
	HeaderCertAuthCredentials Collection[HeaderCertAuthCredential] // the same for header-cert-auth

	// Hash is the MD5 of everything but the node key, as 32 hexadecimal
	// digits. Comments and layout do not count.
	Hash string
	// Files holds the absolute paths of the files that {vault://file/...}
	// references read, sorted, so that they can be watched.
	Files []string
}

// Collection holds the entities of one kind. It never changes once it is part
// of a Config; collections share what is the same in them.
type Collection[T any] struct {
	all   []*T
	byID  index.Map[*T] // by the id's bytes
	byKey index.Map[*T]

	byOther index.Map[*T] // by what alternate says
}

// All returns the entities in the order they were declared in. The caller must
// not change the slice or what it points to.
func (c *Collection[T]) All() []*T { return c.all }

// Len returns the number of entities.
func (c *Collection[T]) Len() int { return len(c.all) }

// Get returns the entity with an id.
func (c *Collection[T]) Get(id ID) (*T, bool) {
	return c.byID.Get(string(id[:]))
}

// Lookup returns the entity with a lookup key: the name of a service, route,
// upstream or SNI, the username of a consumer, the instance name of a plugin.
// Targets and certificates have none.
func (c *Collection[T]) Lookup(key string) (*T, bool) {
	return c.byKey.Get(key)
}

// ConsumerByCustomID returns the consumer with a custom_id.
func (c *Config) ConsumerByCustomID(id string) (*Consumer, bool) {
	return c.Consumers.byOther.Get(id)
}

// MTLSAuthCredential returns the credential of a name in a client's certificate,
// limited to an authority or, with the zero id, to none.
func (c *Config) MTLSAuthCredential(subject string, ca ID) (*MTLSAuthCredential, bool) {
	return c.MTLSAuthCredentials.byOther.Get(subjectKey(subject, ca))
}

// HeaderCertAuthCredential is MTLSAuthCredential for certificates in headers.
func (c *Config) HeaderCertAuthCredential(subject string, ca ID) (*HeaderCertAuthCredential, bool) {
	return c.HeaderCertAuthCredentials.byOther.Get(subjectKey(subject, ca))
}

// subjectKey is what a credential is found by.
func subjectKey(subject string, ca ID) string { return string(ca[:]) + subject }

// Keys yields the key of every entity, collection by collection.
func (c *Config) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		_ = keys(&c.Services, yield) && keys(&c.Routes, yield) && keys(&c.Upstreams, yield) &&
			keys(&c.Targets, yield) && keys(&c.Consumers, yield) && keys(&c.Plugins, yield) &&
			keys(&c.Certificates, yield) && keys(&c.SNIs, yield) && keys(&c.CACertificates, yield) &&
			keys(&c.MTLSAuthCredentials, yield) && keys(&c.HeaderCertAuthCredentials, yield)
	}
}

func keys[T any, P interface {
	*T
	entity
}](c *Collection[T], yield func(Key) bool) bool {
	for _, e := range c.all {
		id, _ := P(e).identity()
		if !yield(Key{kindOf[T](), *id}) {
			return false
		}
	}
	return true
}
