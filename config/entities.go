package config

import (
	"github.com/bulwark-edge/bulwark/config/expr"
	"github.com/bulwark-edge/bulwark/config/schema"
)

// Service is something that requests are proxied to.
//
// Kong: kong/db/schema/entities/services.lua.
type Service struct {
	ID                ID                  `json:"id" doc:"Unique id. Made from the name when absent."`
	Name              string              `json:"name" check:"utf8_name" vault:"false" doc:"Unique name, by which routes and plugins refer to the service."`
	Retries           int                 `json:"retries" default:"5" min:"0" max:"32767" doc:"Further tries after a connection to the upstream fails or times out."`
	Protocol          Protocol            `json:"protocol" default:"http" enum:"grpc,grpcs,http,https,tcp,tls,tls_passthrough,udp" doc:"Protocol spoken to the upstream: grpc and grpcs are HTTP/2. Streams reach it by the transport they came by, over TLS if it is tls."`
	Host              string              `json:"host" required:"true" check:"host" doc:"Host name or address of the upstream server, or the name of an upstream entity. Without a port."`
	Port              int                 `json:"port" default:"80" min:"0" max:"65535" doc:"Port of the upstream server."`
	Path              string              `json:"path" check:"path" doc:"Path put before that of every request. Only with http and https."`
	ConnectTimeout    schema.Milliseconds `json:"connect_timeout" default:"60000" min:"1" max:"2147483646" doc:"Milliseconds to wait for a connection to the upstream."`
	WriteTimeout      schema.Milliseconds `json:"write_timeout" default:"60000" min:"1" max:"2147483646" doc:"Milliseconds between two successive writes to the upstream. Streams know read_timeout only."`
	ReadTimeout       schema.Milliseconds `json:"read_timeout" default:"60000" min:"1" max:"2147483646" doc:"Milliseconds between two successive reads from the upstream; for streams, without a byte in either direction."`
	Tags              []string            `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	ClientCertificate Ref[Certificate]    `json:"client_certificate" doc:"Certificate shown to the upstream. Only with protocol https, grpcs or tls."`
	TLSVerify         *bool               `json:"tls_verify" doc:"Whether the upstream's certificate is verified; null means the default of the edge. Only with protocol https, grpcs or tls."`
	TLSVerifyDepth    *int                `json:"tls_verify_depth" min:"0" max:"64" doc:"Greatest length of the chain of issuers; null means the default of the edge. Only with protocol https, grpcs or tls."`
	CACertificates    []ID                `json:"ca_certificates" doc:"Ids of the ca_certificates the upstream's certificate is verified with. Only with protocol https, grpcs or tls."`
	Enabled           bool                `json:"enabled" default:"true" doc:"False takes the routes of the service out of the router."`
	CreatedAt         Timestamp           `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt         Timestamp           `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	refs schema.References // which fields came from a vault
}

// SpeaksTLS reports whether connections to the upstream are TLS.
func (s *Service) SpeaksTLS() bool {
	return s.Protocol == HTTPS || s.Protocol == GRPCS || s.Protocol == TLS
}

// SpeaksHTTP2 reports whether requests to the upstream are HTTP/2.
func (s *Service) SpeaksHTTP2() bool { return s.Protocol == GRPC || s.Protocol == GRPCS }

// Route says which requests or streams go to a service. Attributes of different
// kinds must all match; of the values of one attribute, one must.
//
// Kong: kong/db/schema/entities/routes.lua.
type Route struct {
	ID                      ID                  `json:"id" doc:"Unique id. Made from the name when absent."`
	Name                    string              `json:"name" check:"utf8_name" vault:"false" doc:"Unique name."`
	Protocols               []Protocol          `json:"protocols" default:"[http, https]" len_min:"1" unique:"true" enum:"grpc,grpcs,http,https,tcp,tls,tls_passthrough,udp" doc:"Protocols the route accepts, of one group: http and https; grpc and grpcs; tcp, tls and udp; or tls_passthrough alone."`
	Methods                 []string            `json:"methods" check:"method" unique:"true" vault:"false" doc:"Request methods, in upper case."`
	Hosts                   []string            `json:"hosts" check:"route_host" vault:"false" doc:"Host names, each with at most one wildcard as its first or last label and an optional port."`
	Paths                   []string            `json:"paths" check:"route_path" vault:"false" doc:"Path prefixes, such as /api, or regular expressions in RE2 syntax after a tilde, such as ~/v[0-9]+."`
	Headers                 map[string][]string `json:"headers" keys:"route_header" check:"header_value" vault:"false" doc:"Header fields and the values each may have. A value that begins with ~* is a regular expression in RE2 syntax."`
	SNIs                    []string            `json:"snis" check:"wildcard_host" unique:"true" vault:"false" doc:"Server names of the TLS handshake. Only with protocol https, grpcs, tls or tls_passthrough. Plain connections are not asked for one."`
	Sources                 []StreamAddress     `json:"sources" doc:"Addresses and ports of clients. Only for streams."`
	Destinations            []StreamAddress     `json:"destinations" doc:"Addresses and ports that clients connect to. Only for streams."`
	RegexPriority           int                 `json:"regex_priority" default:"0" doc:"Among matching regular expressions the greatest priority wins."`
	StripPath               bool                `json:"strip_path" default:"true" doc:"Whether the matched part of the path is taken off before proxying; false, and only false, with grpc and grpcs."`
	PathHandling            PathHandling        `json:"path_handling" default:"v0" enum:"v0,v1" doc:"How the path of the service and that of the request are joined; v1 is plain concatenation."`
	PreserveHost            bool                `json:"preserve_host" default:"false" doc:"Whether the upstream sees the Host that the client sent."`
	RequestBuffering        bool                `json:"request_buffering" default:"true" doc:"Whether up to 64 KiB of a request body are read before the upstream is asked, so that a retry can send a body that fits again. A larger one is streamed."`
	ResponseBuffering       bool                `json:"response_buffering" default:"true" doc:"Whether response content is gathered while more of it is on its way; false passes each piece on at once."`
	HTTPSRedirectStatusCode int                 `json:"https_redirect_status_code" default:"426" enum:"426,301,302,307,308" doc:"Answer to plain HTTP when the route accepts only https."`
	Expression              string              `json:"expression" vault:"false" omit:"zero" doc:"Which requests the route wants, in Kong's expressions language, in place of the match fields. Only with router_flavor expressions."`
	Priority                int                 `json:"priority" default:"0" min:"0" max:"70368744177663" omit:"zero" doc:"Among matching expressions the greatest priority wins. Only with an expression."`
	Service                 Ref[Service]        `json:"service" doc:"Service that requests go to; null for a route that only plugins answer."`
	Tags                    []string            `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt               Timestamp           `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt               Timestamp           `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	parsed *expr.Expr `derived:"true"` // of Expression, if it came from a file
}

// ParsedExpression returns the route's expression, compiled.
func (r *Route) ParsedExpression() (*expr.Expr, error) {
	if r.parsed != nil {
		return r.parsed, nil
	}
	return expr.Parse(r.Expression)
}

// Stream reports whether the route is one of streams; else it is one of requests.
func (r *Route) Stream() bool { return len(r.Protocols) > 0 && r.Protocols[0].Stream() }

// GRPC reports whether the route is one of gRPC requests.
func (r *Route) GRPC() bool {
	return len(r.Protocols) > 0 && (r.Protocols[0] == GRPC || r.Protocols[0] == GRPCS)
}

// StreamAddress is an end of a stream: an address or a range of them, a port, or
// both.
type StreamAddress struct {
	IP   *schema.Prefix `json:"ip" doc:"Address or range of addresses; null for any."`
	Port *int           `json:"port" min:"0" max:"65535" doc:"Port; null for any."`
}

// Target is one server of an upstream.
//
// Kong: kong/db/schema/entities/targets.lua.
type Target struct {
	ID        ID            `json:"id" doc:"Unique id. Made from the upstream and the target when absent."`
	Upstream  Ref[Upstream] `json:"upstream" required:"true" doc:"Upstream the target belongs to."`
	Target    string        `json:"target" required:"true" check:"target" doc:"Host name or address with an optional port; without one the port is 8000. Always host:port once loaded."`
	Weight    int           `json:"weight" default:"100" min:"0" max:"65535" doc:"Share of the traffic relative to the other targets; 0 means none."`
	Tags      []string      `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt Timestamp     `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt Timestamp     `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	host string `derived:"true"`
	port uint16 `derived:"true"`
	refs schema.References
}

// Host returns the host name or address of the target, without brackets.
func (t *Target) Host() string { return t.host }

// Port returns the port of the target.
func (t *Target) Port() uint16 { return t.port }

// Consumer is a user or client program of the services.
//
// Kong: kong/db/schema/entities/consumers.lua.
type Consumer struct {
	ID        ID        `json:"id" doc:"Unique id. Made from the username when absent."`
	Username  string    `json:"username" vault:"false" doc:"Unique name. It or custom_id is required."`
	CustomID  string    `json:"custom_id" vault:"false" doc:"Unique id that the consumer has elsewhere."`
	Tags      []string  `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt Timestamp `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt Timestamp `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`
}

// Plugin is one instance of a plugin and its scope: the requests of a route, a
// service, a consumer, a combination of them, or all.
//
// Kong: kong/db/schema/entities/plugins.lua.
type Plugin struct {
	ID           ID            `json:"id" doc:"Unique id. Made from the name and the scope when absent."`
	Name         string        `json:"name" required:"true" vault:"false" doc:"Which plugin this is."`
	InstanceName string        `json:"instance_name" check:"utf8_name" vault:"false" doc:"Unique name of this instance."`
	Route        Ref[Route]    `json:"route" doc:"Route the plugin is limited to."`
	Service      Ref[Service]  `json:"service" doc:"Service the plugin is limited to."`
	Consumer     Ref[Consumer] `json:"consumer" doc:"Consumer the plugin is limited to."`
	Config       any           `json:"config" doc:"Configuration, by the schema of the plugin."`
	Protocols    []Protocol    `json:"protocols" default:"[grpc, grpcs, http, https]" len_min:"1" unique:"true" enum:"grpc,grpcs,http,https,tcp,tls,tls_passthrough,udp" doc:"Protocols of the requests and streams the plugin runs on. Some plugins know only a part of them, and some have another default."`
	Enabled      bool          `json:"enabled" default:"true" doc:"Whether the plugin runs."`
	Tags         []string      `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	CreatedAt    Timestamp     `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt    Timestamp     `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	kind *schema.Type `derived:"true"` // describes Config, which points to its struct
	refs schema.References
}
