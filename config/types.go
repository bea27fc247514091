package config

import (
	"encoding/json"
	"strconv"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// ID is the UUID of an entity; the zero value means none.
type ID = schema.ID

// ParseID reads the 8-4-4-4-12 form.
func ParseID(s string) (ID, error) { return schema.ParseID(s) }

// Key names one entity of a configuration.
type Key struct {
	Kind string // the collection, one of the Kind constants
	ID   ID     // the id of the entity
}

// The collections, as the declarative file and the Admin API name them.
const (
	KindService       = "services"
	KindRoute         = "routes"
	KindUpstream      = "upstreams"
	KindTarget        = "targets"
	KindConsumer      = "consumers"
	KindPlugin        = "plugins"
	KindCertificate   = "certificates"
	KindSNI           = "snis"
	KindCACertificate = "ca_certificates"

	KindMTLSAuthCredential       = "mtls_auth_credentials"
	KindHeaderCertAuthCredential = "header_cert_auth_credentials"
)

// Ref is a reference to an entity of type T; the zero value is null. It is
// marshalled as {"id":"..."}.
type Ref[T any] struct {
	ID ID // the id of the entity referred to
}

// IsZero reports whether the reference is null.
func (r Ref[T]) IsZero() bool { return r.ID.IsZero() }

// Target implements schema.Reference.
func (r *Ref[T]) Target() (collection string, id *ID) {
	return kindOf[T](), &r.ID
}

// MarshalJSON writes {"id":"..."} or null.
func (r Ref[T]) MarshalJSON() ([]byte, error) {
	if r.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`{"id":"` + r.ID.String() + `"}`), nil
}

// kindOf returns the collection that holds entities of type T.
func kindOf[T any]() string {
	switch any((*T)(nil)).(type) {
	case *Service:
		return KindService
	case *Route:
		return KindRoute
	case *Upstream:
		return KindUpstream
	case *Target:
		return KindTarget
	case *Consumer:
		return KindConsumer
	case *Plugin:
		return KindPlugin
	case *Certificate:
		return KindCertificate
	case *SNI:
		return KindSNI
	case *CACertificate:
		return KindCACertificate
	case *MTLSAuthCredential:
		return KindMTLSAuthCredential
	case *HeaderCertAuthCredential:
		return KindHeaderCertAuthCredential
	}
	panic("BUG: reference to a type that is no entity")
}

// Timestamp is a time in Unix seconds as the file gives it; 0 means that the
// file does not, and is marshalled as null.
type Timestamp float64

// MarshalJSON writes the number, without a fraction if it has none.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(t), 'f', -1, 64), nil
}

var (
	_ json.Marshaler   = Timestamp(0)
	_ json.Marshaler   = Ref[Service]{}
	_ schema.Reference = (*Ref[Service])(nil)
)

// Protocol is what a route accepts, a service speaks or a plugin runs on.
type Protocol string

// Kong's protocols.
const (
	HTTP           Protocol = "http"
	HTTPS          Protocol = "https"
	GRPC           Protocol = "grpc"
	GRPCS          Protocol = "grpcs"
	TCP            Protocol = "tcp"
	TLS            Protocol = "tls"
	TLSPassthrough Protocol = "tls_passthrough"
	UDP            Protocol = "udp"
)

// Stream reports whether p is a protocol of streams, of connections or
// datagrams.
func (p Protocol) Stream() bool {
	return p == TCP || p == TLS || p == TLSPassthrough || p == UDP
}

// overTLS reports whether connections of p begin with a ClientHello.
func (p Protocol) overTLS() bool {
	return p == HTTPS || p == GRPCS || p == TLS || p == TLSPassthrough
}

// PathHandling says how the upstream path is joined from its parts.
type PathHandling string

// The two ways of joining paths; V1 is plain concatenation.
const (
	V0 PathHandling = "v0"
	V1 PathHandling = "v1"
)
