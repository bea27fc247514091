// Package catalog is the ordered list of every plugin. A plugin's place in it
// is its place in every phase.
package catalog

import (
	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/acme"
	"github.com/bulwark-edge/bulwark/plugins/botdetection"
	"github.com/bulwark-edge/bulwark/plugins/compression"
	"github.com/bulwark-edge/bulwark/plugins/correlationid"
	"github.com/bulwark-edge/bulwark/plugins/cors"
	"github.com/bulwark-edge/bulwark/plugins/filelog"
	"github.com/bulwark-edge/bulwark/plugins/headercertauth"
	"github.com/bulwark-edge/bulwark/plugins/iprestriction"
	"github.com/bulwark-edge/bulwark/plugins/mtlsauth"
	"github.com/bulwark-edge/bulwark/plugins/prometheus"
	"github.com/bulwark-edge/bulwark/plugins/proxycache"
	"github.com/bulwark-edge/bulwark/plugins/proxyprotocol"
	"github.com/bulwark-edge/bulwark/plugins/redirect"
	"github.com/bulwark-edge/bulwark/plugins/requestsizelimiting"
	"github.com/bulwark-edge/bulwark/plugins/requesttermination"
	"github.com/bulwark-edge/bulwark/plugins/requesttransformer"
	"github.com/bulwark-edge/bulwark/plugins/responsetransformer"
	"github.com/bulwark-edge/bulwark/plugins/tlshandshakemodifier"
	"github.com/bulwark-edge/bulwark/plugins/tlsmetadataheaders"
	"github.com/bulwark-edge/bulwark/plugins/waf"
)

// All returns the kinds in the order they run.
func All() Catalog {
	return Catalog{
		acme.Kind(),
		correlationid.Kind(),
		mtlsauth.Kind(),
		headercertauth.Kind(),
		tlshandshakemodifier.Kind(),
		tlsmetadataheaders.Kind(),
		waf.Kind(),
		botdetection.Kind(),
		iprestriction.Kind(),
		cors.Kind(),
		requestsizelimiting.Kind(),
		requesttransformer.Kind(),
		responsetransformer.Kind(),
		redirect.Kind(),
		proxycache.Kind(),
		proxyprotocol.Kind(),
		prometheus.Kind(),
		filelog.Kind(),
		requesttermination.Kind(),
		compression.Kind(), // the last to see content
	}
}

// Catalog is a list of kinds in the order they run.
type Catalog []plugins.Kind

// Schema returns the schema of a plugin's configuration.
func (c Catalog) Schema(plugin string) (*schema.Type, bool) {
	for i := range c {
		if c[i].Name == plugin {
			return c[i].Schema, true
		}
	}
	return nil, false
}

// Allows reports whether a plugin may be limited to an entity; see
// plugins.Kind.Allows.
func (c Catalog) Allows(plugin, scope string) bool {
	for i := range c {
		if c[i].Name == plugin {
			return c[i].Allows(scope)
		}
	}
	return false
}

// Speaks reports whether a plugin's instances may run on a protocol.
func (c Catalog) Speaks(plugin string, p config.Protocol) bool {
	for i := range c {
		if c[i].Name == plugin {
			return c[i].Knows(p)
		}
	}
	return false
}

// Protocols returns those of an instance that names none, nil for Kong's default.
func (c Catalog) Protocols(plugin string) []config.Protocol {
	for i := range c {
		if c[i].Name == plugin {
			return c[i].Protocols
		}
	}
	return nil
}

// Names returns the names of the kinds in the order they run.
func (c Catalog) Names() []string {
	names := make([]string, len(c))
	for i := range c {
		names[i] = c[i].Name
	}
	return names
}
