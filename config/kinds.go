package config

import "github.com/bulwark-edge/bulwark/config/schema"

// The descriptions are compiled once and never change.
var (
	headerType        = schema.Of[header]()
	nodeType          = schema.Of[Node]()
	tlsPolicyType     = schema.Of[TLSPolicy]()
	serviceType       = schema.Of[Service]()
	routeType         = schema.Of[Route]()
	upstreamType      = schema.Of[Upstream]()
	targetType        = schema.Of[Target]()
	consumerType      = schema.Of[Consumer]()
	pluginType        = schema.Of[Plugin]()
	certificateType   = schema.Of[Certificate]()
	sniType           = schema.Of[SNI]()
	caCertificateType = schema.Of[CACertificate]()

	mtlsAuthCredentialType       = schema.Of[MTLSAuthCredential]()
	headerCertAuthCredentialType = schema.Of[HeaderCertAuthCredential]()
)

// typeOf returns the description of an entity.
func typeOf[T any]() *schema.Type {
	switch any((*T)(nil)).(type) {
	case *Service:
		return serviceType
	case *Route:
		return routeType
	case *Upstream:
		return upstreamType
	case *Target:
		return targetType
	case *Consumer:
		return consumerType
	case *Plugin:
		return pluginType
	case *Certificate:
		return certificateType
	case *SNI:
		return sniType
	case *CACertificate:
		return caCertificateType
	case *MTLSAuthCredential:
		return mtlsAuthCredentialType
	case *HeaderCertAuthCredential:
		return headerCertAuthCredentialType
	}
	panic("BUG: description of a type that is no entity")
}

// entity is what the loader asks of every entity.
type entity interface {
	// identity returns where the id is kept and the lookup key, if any.
	identity() (id *ID, key string)
	// keep stores which fields came from a vault.
	keep(refs schema.References)
}

// alternate is an entity that is also found by something else than its id and
// its lookup key.
type alternate interface {
	// otherKey returns that, "" for none. References are resolved.
	otherKey() string
}

// kind is one collection while a file is loaded.
type kind struct {
	name     string
	typ      *schema.Type
	keyField string            // name of the lookup key, if any
	children map[string]string // nested collections, and the child's field that names the parent
	add      func(entity)      // in declaration order
	index    func(entity)      // by id and key, once both are known to be unique
	alter    func(entity)      // by its other key, once references are resolved
	indexed  func()            // lets what was indexed be found
}

// entityKinds returns the collections of c, empty.
func entityKinds(c *Config) map[string]*kind {
	m := make(map[string]*kind)
	put(m, &c.Services, serviceType, "name", map[string]string{KindRoute: "service", KindPlugin: "service"})
	put(m, &c.Routes, routeType, "name", map[string]string{KindPlugin: "route"})
	put(m, &c.Upstreams, upstreamType, "name", map[string]string{KindTarget: "upstream"})
	put(m, &c.Targets, targetType, "", nil)
	put(m, &c.Consumers, consumerType, "username", map[string]string{
		KindPlugin: "consumer", KindMTLSAuthCredential: "consumer", KindHeaderCertAuthCredential: "consumer",
	})
	put(m, &c.Plugins, pluginType, "instance_name", nil)
	put(m, &c.Certificates, certificateType, "", map[string]string{KindSNI: "certificate"})
	put(m, &c.SNIs, sniType, "name", nil)
	put(m, &c.CACertificates, caCertificateType, "", nil)
	put(m, &c.MTLSAuthCredentials, mtlsAuthCredentialType, "", nil)
	put(m, &c.HeaderCertAuthCredentials, headerCertAuthCredentialType, "", nil)
	return m
}

func put[T any, P interface {
	*T
	entity
}](m map[string]*kind, c *Collection[T], t *schema.Type, keyField string, children map[string]string) {
	name := kindOf[T]()
	var edits indexEdits[T, P]
	m[name] = &kind{
		name: name, typ: t, keyField: keyField, children: children,
		add:   func(e entity) { c.all = append(c.all, (*T)(e.(P))) },
		index: func(e entity) { edits.identify((*T)(e.(P)), false) },
		alter: func(e entity) { edits.alter((*T)(e.(P)), false) },
		indexed: func() {
			c.byID, c.byKey, c.byOther = c.byID.With(edits.ids), c.byKey.With(edits.keys), c.byOther.With(edits.others)
			edits = indexEdits[T, P]{}
		},
	}
}

// unservedNames are the keys of Kong and decK, top-level or nested, that this
// version knows and refuses.
var unservedNames = map[string]bool{
	"_workspace": true, "_konnect": true, "_plugin_configs": true,
	"acls": true, "acme_storage": true, "basicauth_credentials": true, "clustering_data_planes": true,
	"consumer_group_consumers": true, "consumer_group_plugins": true, "consumer_groups": true,
	"custom_entities": true, "degraphql_routes": true, "filter_chains": true,
	"graphql_ratelimiting_advanced_cost_decoration": true, "groups": true,
	"hmacauth_credentials": true, "jwt_secrets": true, "key_sets": true, "keyauth_credentials": true,
	"keyauth_enc_credentials": true, "keys": true, "licenses": true,
	"oauth2_authorization_codes": true, "oauth2_credentials": true, "oauth2_tokens": true, "ordering": true,
	"parameters": true, "partials": true, "plugin_configs": true, "rbac_role_endpoints": true,
	"rbac_role_entities": true, "rbac_roles": true, "rbac_users": true, "sessions": true,
	"service_packages": true, "service_versions": true, "tags_index": true, "vaults": true, "workspaces": true, "ws_id": true,
}

func (s *Service) identity() (*ID, string)       { return &s.ID, s.Name }
func (r *Route) identity() (*ID, string)         { return &r.ID, r.Name }
func (u *Upstream) identity() (*ID, string)      { return &u.ID, u.Name }
func (t *Target) identity() (*ID, string)        { return &t.ID, "" }
func (c *Consumer) identity() (*ID, string)      { return &c.ID, c.Username }
func (p *Plugin) identity() (*ID, string)        { return &p.ID, p.InstanceName }
func (c *Certificate) identity() (*ID, string)   { return &c.ID, "" }
func (s *SNI) identity() (*ID, string)           { return &s.ID, s.Name }
func (c *CACertificate) identity() (*ID, string) { return &c.ID, "" }

func (c *MTLSAuthCredential) identity() (*ID, string)       { return &c.ID, "" }
func (c *HeaderCertAuthCredential) identity() (*ID, string) { return &c.ID, "" }

func (c *Consumer) otherKey() string           { return c.CustomID }
func (c *MTLSAuthCredential) otherKey() string { return subjectKey(c.SubjectName, c.CACertificate.ID) }

func (c *HeaderCertAuthCredential) otherKey() string {
	return subjectKey(c.SubjectName, c.CACertificate.ID)
}

func (s *Service) keep(refs schema.References)       { s.refs = refs }
func (*Route) keep(schema.References)                {}
func (u *Upstream) keep(refs schema.References)      { u.refs = refs }
func (t *Target) keep(refs schema.References)        { t.refs = refs }
func (*Consumer) keep(schema.References)             {}
func (p *Plugin) keep(refs schema.References)        { p.refs = refs }
func (c *Certificate) keep(refs schema.References)   { c.refs = refs }
func (*SNI) keep(schema.References)                  {}
func (c *CACertificate) keep(refs schema.References) { c.refs = refs }

func (*MTLSAuthCredential) keep(schema.References)       {}
func (*HeaderCertAuthCredential) keep(schema.References) {}

// MarshalJSON writes the service as Kong does.
func (s Service) MarshalJSON() ([]byte, error) { return serviceType.Marshal(&s, s.refs, nil) }

// MarshalJSON writes the route as Kong does.
func (r Route) MarshalJSON() ([]byte, error) { return routeType.Marshal(&r, nil, nil) }

// MarshalJSON writes the upstream as Kong does.
func (u Upstream) MarshalJSON() ([]byte, error) { return upstreamType.Marshal(&u, u.refs, nil) }

// MarshalJSON writes the target as Kong does.
func (t Target) MarshalJSON() ([]byte, error) { return targetType.Marshal(&t, t.refs, nil) }

// MarshalJSON writes the consumer as Kong does.
func (c Consumer) MarshalJSON() ([]byte, error) { return consumerType.Marshal(&c, nil, nil) }

// MarshalJSON writes the plugin as Kong does.
func (p Plugin) MarshalJSON() ([]byte, error) { return pluginType.Marshal(&p, p.refs, p.kind) }

// MarshalJSON writes the certificate as Kong does, with its keys masked.
func (c Certificate) MarshalJSON() ([]byte, error) {
	return certificateType.Marshal(&c, c.refs, nil)
}

// MarshalJSON writes the SNI as Kong does.
func (s SNI) MarshalJSON() ([]byte, error) { return sniType.Marshal(&s, nil, nil) }

// MarshalJSON writes the CA certificate as Kong does.
func (c CACertificate) MarshalJSON() ([]byte, error) {
	return caCertificateType.Marshal(&c, c.refs, nil)
}

// MarshalJSON writes the credential as Kong does.
func (c MTLSAuthCredential) MarshalJSON() ([]byte, error) {
	return mtlsAuthCredentialType.Marshal(&c, nil, nil)
}

// MarshalJSON writes the credential as Kong does.
func (c HeaderCertAuthCredential) MarshalJSON() ([]byte, error) {
	return headerCertAuthCredentialType.Marshal(&c, nil, nil)
}
