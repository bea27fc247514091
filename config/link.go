package config

import (
	"slices"
	"strconv"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// link indexes what was declared, resolves the references and then checks the
// rules that concern several entities.
func (l *loader) link() {
	uniq := uniqueness{report: l.report, seen: make(map[claim]*declared, 2*len(l.declared))}
	for _, d := range l.declared {
		if uniq.identity(d) {
			d.kind.index(d.entity)
		}
	}
	for _, k := range l.types {
		k.indexed()
	}
	for _, d := range l.declared {
		for _, p := range d.pending {
			l.resolve(d.parent, d.kind.name, p)
		}
		for _, p := range d.inner {
			l.resolve(nil, d.kind.name, p)
		}
		switch e := d.entity.(type) {
		case *Service:
			l.checkCAs(d, "", e.CACertificates)
		case *Plugin:
			if t, ok := e.Config.(Truster); ok {
				l.checkCAs(d, "config", t.Authorities())
			}
		}
	}
	for _, p := range l.inner {
		l.resolve(nil, "node", p)
	}
	for _, d := range l.declared {
		uniq.attributes(d)
		d.kind.alter(d.entity)
	}
	for _, k := range l.types {
		k.indexed()
	}
	l.checkScopes()
	l.checkServices()
	l.checkProtocols()
	l.checkFlavor()
	l.checkPolicies()
	l.collectSNIs()
}

// resolve sets the id of one reference of an entity of a kind. The reference
// of a nested entity to its parent's collection must be to the parent.
func (l *loader) resolve(parent *declared, kind string, p schema.Pending) {
	id, ok := l.find(p)
	if !ok && l.failed(p.Place.Path) {
		return
	}
	if !ok {
		l.report.Add(&Error{
			Place:      p.Place,
			Reason:     "invalid reference '" + p.Field + ": " + p.Text + "' (no such entry in '" + p.Collection + "')",
			Suggestion: schema.Nearest(p.Key, l.keysOf(p.Collection)),
		})
		return
	}
	if parent != nil && parent.kind.children[kind] == p.Field && id != parent.id() {
		l.report.Add(&Error{
			Place: p.Place, Reason: schema.ReasonNull, Found: schema.Quote(p.Key),
			Expected: "no " + p.Field + " other than the one this is nested in",
		})
		return
	}
	*p.ID = id
}

// failed reports whether there is an error at a path already.
func (l *loader) failed(path string) bool {
	errs, _ := l.report.Errors()
	return slices.ContainsFunc(errs, func(e *Error) bool { return e.Path == path })
}

// find looks a reference up by key first and by id second, as Kong does.
func (l *loader) find(p schema.Pending) (ID, bool) {
	if !p.IsID {
		if id, ok := l.byKey(p.Collection, p.Key); ok {
			return id, true
		}
	}
	id, err := ParseID(p.Key)
	if err != nil {
		return ID{}, false
	}
	return id, l.hasID(p.Collection, id)
}

func (l *loader) byKey(kind, key string) (ID, bool) {
	c := l.cfg
	switch kind {
	case KindService:
		return keyed(&c.Services, key)
	case KindRoute:
		return keyed(&c.Routes, key)
	case KindUpstream:
		return keyed(&c.Upstreams, key)
	case KindConsumer:
		return keyed(&c.Consumers, key)
	}
	return ID{}, false
}

func keyed[T any, P interface {
	*T
	entity
}](c *Collection[T], key string) (ID, bool) {
	e, ok := c.Lookup(key)
	if !ok {
		return ID{}, false
	}
	id, _ := P(e).identity()
	return *id, true
}

func (l *loader) hasID(kind string, id ID) (ok bool) {
	c := l.cfg
	switch kind {
	case KindService:
		_, ok = c.Services.Get(id)
	case KindRoute:
		_, ok = c.Routes.Get(id)
	case KindUpstream:
		_, ok = c.Upstreams.Get(id)
	case KindConsumer:
		_, ok = c.Consumers.Get(id)
	case KindCertificate:
		_, ok = c.Certificates.Get(id)
	case KindCACertificate:
		_, ok = c.CACertificates.Get(id)
	}
	return ok
}

// keysOf returns the lookup keys of a collection, for suggestions.
func (l *loader) keysOf(kind string) []string {
	var keys []string
	for _, d := range l.declared {
		if _, key := d.entity.identity(); d.kind.name == kind && key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// checkCAs checks that the CA certificates of a service, or of a plugin's
// configuration, exist.
func (l *loader) checkCAs(d *declared, within string, ids []ID) {
	for i, id := range ids {
		if _, ok := l.cfg.CACertificates.Get(id); ok || id.IsZero() {
			continue
		}
		at := d.place
		if within != "" {
			at = at.Field(within)
		}
		at = at.Field("ca_certificates")
		at.Path += "[" + strconv.Itoa(i) + "]"
		l.report.Add(&Error{
			Place:  at,
			Reason: "invalid reference 'ca_certificates: " + id.String() + "' (no such entry in 'ca_certificates')",
		})
	}
}

// checkPolicies checks that the authorities of TLS policies exist.
func (l *loader) checkPolicies() {
	for i := range l.cfg.Node.TLS.Policies {
		for j, id := range l.cfg.Node.TLS.Policies[i].ClientAuth.CACertificates {
			if _, ok := l.cfg.CACertificates.Get(id); ok || id.IsZero() {
				continue
			}
			l.report.Add(&Error{
				Place:  l.policies.Index(i).Field("client_auth").Field("ca_certificates").Index(j),
				Reason: "invalid reference 'ca_certificates: " + id.String() + "' (no such entry in 'ca_certificates')",
			})
		}
	}
}

// uniqueness finds entities that claim the same thing.
type uniqueness struct {
	report *schema.Report
	seen   map[claim]*declared
}

// claim is a value that only one entity of a kind may have.
type claim struct{ kind, field, value string }

// identity checks the lookup key and the id.
func (u *uniqueness) identity(d *declared) bool {
	id, key := d.entity.identity()
	if key != "" && !u.claim(d, d.kind.keyField, key, d.kind.keyField) {
		return false
	}
	return u.claim(d, "primary key", id.String(), "id")
}

// attributes checks what else must be unique. Null scopes count as equal.
func (u *uniqueness) attributes(d *declared) {
	switch e := d.entity.(type) {
	case *Consumer:
		if e.CustomID != "" {
			u.claim(d, "custom_id", e.CustomID, "custom_id")
		}
	case *CACertificate:
		if e.CertDigest != "" {
			u.claim(d, "cert_digest", e.CertDigest, "cert")
		}
	case *MTLSAuthCredential:
		u.subject(d, e.SubjectName, e.CACertificate.ID)
	case *HeaderCertAuthCredential:
		u.subject(d, e.SubjectName, e.CACertificate.ID)
	case *Target:
		if e.Target != "" && !e.Upstream.IsZero() && !u.taken(d) {
			u.claim(d, "upstream, target", e.Upstream.ID.String()+", "+e.Target, "target")
		}
	case *Plugin:
		if e.Name != "" && !u.taken(d) {
			scope := e.Name + ", " + orNull(e.Route.ID) + ", " + orNull(e.Service.ID) + ", " + orNull(e.Consumer.ID)
			u.claim(d, "name, route, service, consumer", scope, "name")
		}
	}
}

// subject checks that one name of an authority means one credential.
func (u *uniqueness) subject(d *declared, name string, ca ID) {
	if name != "" && !u.taken(d) {
		u.claim(d, "subject_name, ca_certificate", name+", "+orNull(ca), "subject_name")
	}
}

// taken reports whether the id of d belongs to another entity, which has been
// reported already.
func (u *uniqueness) taken(d *declared) bool {
	return u.seen[claim{d.kind.name, "primary key", d.id().String()}] != d
}

// claim reports an error at a field of d if another entity has the value.
func (u *uniqueness) claim(d *declared, field, value, at string) bool {
	k := claim{d.kind.name, field, value}
	first, taken := u.seen[k]
	if !taken {
		u.seen[k] = d
		return true
	}
	e := &Error{
		Place:  d.place.Field(at),
		Reason: "uniqueness violation: '" + d.kind.name + "' entity with " + field + " set to '" + value + "' already declared",
	}
	if line := first.place.Field(at).Line; line > 0 {
		e.Expected = "another one than on line " + strconv.Itoa(line)
	}
	u.report.Add(e)
	return false
}

func orNull(id ID) string {
	if id.IsZero() {
		return "null"
	}
	return id.String()
}

// checkScopes checks that every plugin is limited only to what its kind allows.
func (l *loader) checkScopes() {
	kinds, ok := l.kinds.(interface {
		Allows(plugin, scope string) bool
	})
	if !ok {
		return
	}
	for _, d := range l.declared {
		p, ok := d.entity.(*Plugin)
		if !ok || p.kind == nil { // an unknown plugin has been reported
			continue
		}
		limited := false
		for _, scope := range [...]struct {
			name string
			id   ID
		}{{"service", p.Service.ID}, {"route", p.Route.ID}, {"consumer", p.Consumer.ID}} {
			if scope.id.IsZero() {
				continue
			}
			limited = true
			if !kinds.Allows(p.Name, scope.name) {
				l.report.Add(&Error{
					Place: d.place.Field(scope.name), Reason: schema.ReasonNull,
					Expected: "no " + scope.name + ", since plugin '" + p.Name + "' cannot be limited to one",
				})
			}
		}
		if !limited && !kinds.Allows(p.Name, "") {
			l.report.Add(&Error{
				Place: d.place.Field("name"), Reason: "plugin '" + p.Name + "' cannot be global",
				Expected: "a service, route or consumer to limit it to",
			})
		}
	}
}

// checkFlavor checks that expressions stand only where the router reads them.
func (l *loader) checkFlavor() {
	if l.cfg.Node.Flavor == FlavorExpressions || l.failed("node.router_flavor") {
		return
	}
	for _, d := range l.declared {
		if r, ok := d.entity.(*Route); ok && r.Expression != "" {
			if at := d.place.Field("expression"); !l.failed(at.Path) {
				l.report.Add(&Error{
					Place: at, Reason: "cannot be set unless node.router_flavor is 'expressions'", Found: schema.Quote(r.Expression),
					Expected: "the other router flavour, or " + matchFields,
				})
			}
		}
	}
}

// collectSNIs writes the names of the SNIs into their certificates.
func (l *loader) collectSNIs() {
	for _, c := range l.cfg.Certificates.all {
		c.SNIs = []string{}
	}
	for _, s := range l.cfg.SNIs.all {
		if c, ok := l.cfg.Certificates.Get(s.Certificate.ID); ok {
			c.SNIs = append(c.SNIs, s.Name)
		}
	}
	for _, c := range l.cfg.Certificates.all {
		slices.Sort(c.SNIs)
	}
}
