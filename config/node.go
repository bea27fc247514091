package config

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Node is what belongs to this process, as opposed to the desired state that
// several processes may share. It stands under the key "node" of the file.
type Node struct {
	Listeners  []Listener      `json:"listeners" default:"[{name: http, address: ':8000', serve: http}, {name: https, address: ':8443', serve: https}]" doc:"Sockets that accept traffic."`
	Admin      Address         `json:"admin" default:"off" unserved:"true" doc:"Address of the Admin API, or off."`
	Status     Address         `json:"status" default:"127.0.0.1:8007" doc:"Address of the status listener (/status, /status/ready, /metrics), or off."`
	Log        Log             `json:"log" doc:"What is logged, and where."`
	Limits     Limits          `json:"limits" doc:"Bounds that keep one client from taking everything."`
	Resilience Resilience      `json:"resilience" doc:"Bounds on what upstreams in trouble are asked."`
	Drain      schema.Duration `json:"drain" default:"30s" min:"0s" max:"24h" doc:"How long open exchanges and streams may go on after a stop, or after a reload that takes their listener away."`
	Headers    []string        `json:"headers" default:"[server_tokens, latency_tokens, X-Kong-Request-Id]" unique:"true" enum:"server_tokens,latency_tokens,X-Kong-Upstream-Latency,X-Kong-Proxy-Latency,X-Kong-Response-Latency,X-Kong-Admin-Latency,X-Kong-Upstream-Status,X-Kong-Request-Id,Server,Via,off" doc:"Header fields added to responses, by Kong's names; off alone adds none."`
	ErrorType  string          `json:"error_default_type" default:"text/plain" enum:"text/plain,application/json,text/html,application/xml" doc:"Media type of errors for requests that have neither Accept nor Content-Type."`
	Flavor     RouterFlavor    `json:"router_flavor" default:"traditional_compatible" enum:"traditional_compatible,traditional,expressions" unserved:"traditional" doc:"How routes are matched, as in Kong: by their match fields (traditional_compatible), or also by expressions, which then go first."`
	TrustedIPs []schema.Prefix `json:"trusted_ips" default:"[]" doc:"Peers whose X-Forwarded-* fields are believed, and the one of real_ip_header. Behind a PROXY header the peer is whom it names."`
	Responders []schema.Prefix `json:"revocation_servers" default:"[]" doc:"Addresses of this machine and its link at which OCSP and CRL servers may be asked whether a certificate was revoked. All others of loopback and link-local are refused, since it is the certificate that names the server."`
	DNS        DNS             `json:"dns" doc:"How host names are resolved."`
	Consul     Consul          `json:"consul" doc:"Where services are found by Consul's catalogue."`
	Store      schema.Unserved `json:"store" doc:"Where desired state lives, if not in this file."`
	TLS        NodeTLS         `json:"tls" doc:"How TLS is spoken with clients."`
	ACME       ACME            `json:"acme" doc:"Certificates that are ordered by themselves (ACME)."`
	WAF        NodeWAF         `json:"waf" doc:"Rules of the web application firewall, for all instances of the plugin waf."`
	Telemetry  schema.Unserved `json:"telemetry" doc:"Export of traces and metrics."`

	RealIPHeader    string `json:"real_ip_header" default:"X-Real-IP" check:"header_name" doc:"Field in which a trusted peer names the client, for plugins, logs and balancing. Of X-Forwarded-For the last address counts. proxy_protocol: no field, but the connection alone."`
	RealIPRecursive bool   `json:"real_ip_recursive" default:"false" doc:"Whether the client is the last address of the field that is not itself trusted, in place of the last one."`
}

// RealIPConnection is the value of Node.RealIPHeader that is no field: the
// client is who the connection, or its PROXY header, says.
const RealIPConnection = "proxy_protocol"

// Listener is one socket that accepts traffic.
type Listener struct {
	Name          string          `json:"name" required:"true" check:"name" doc:"Unique name, used in logs and metrics."`
	Address       Address         `json:"address" required:"true" doc:"Where to listen: host:port, or :port for every IPv4 and IPv6 address."`
	Serve         string          `json:"serve" default:"http" enum:"http,https,tcp,tls,udp" doc:"What is served: http; https, and streams over TLS beside it; tcp, streams as they are; tls, streams over TLS only, passed through or terminated; udp, flows of datagrams, and QUIC passed through by its server name."`
	ReusePort     bool            `json:"reuse_port" default:"false" doc:"Whether several processes may listen on the address at once (SO_REUSEPORT)."`
	Limits        ListenerLimits  `json:"limits" doc:"Bounds of this listener in place of those of the node."`
	TLS           string          `json:"tls" check:"name" doc:"Policy of node.tls that counts on this listener, but for server names that have one of their own: one of node.tls.policies, modern or intermediate; null means node.tls.default. Only with https and tls."`
	HTTP1         bool            `json:"http1" default:"true" doc:"Whether HTTP/1 is spoken. Only with http; over TLS it is the policy's alpn that says so."`
	HTTP2         bool            `json:"http2" default:"true" doc:"Whether HTTP/2 is spoken with clients that know it will be. Only with http; over TLS it is the policy's alpn that says so."`
	HTTP3         bool            `json:"http3" default:"false" unserved:"true" doc:"Whether HTTP/3 is served on the same port."`
	ProxyProtocol []schema.Prefix `json:"proxy_protocol" default:"[]" doc:"Peers, such as load balancers, that begin every connection with a PROXY header (version 1 or 2), before TLS, and with udp the first datagram of every flow (version 2). It is required of them and names the client. Whoever is not listed is served as they are, and a header of theirs is content."`

	Answers int `json:"answers" default:"0" min:"0" max:"65535" doc:"Of udp: a flow ends once each datagram of the client has had so many answers, such as 1 for DNS; 0: only when it has been silent for long enough."`

	Plugins []ListenerPlugin `json:"plugins" default:"[]" doc:"Plugins that run for everything on this listener, beside those of routes and services and before them. One that can judge a connection does so when it comes, before TLS."`
}

// Values of Listener.Serve.
const (
	ServeHTTP  = "http"
	ServeHTTPS = "https"
	ServeTCP   = "tcp"
	ServeTLS   = "tls"
	ServeUDP   = "udp"
)

// ListenerLimits are bounds of one listener; nil means the bound of the node.
type ListenerLimits struct {
	Connections           *int `json:"connections" min:"1" max:"10000000" doc:"Open connections on this listener; null means node.limits.connections."`
	ConnectionsPerAddress *int `json:"connections_per_address" min:"0" max:"10000000" doc:"Open connections from one client address on this listener, 0 for no limit; null means node.limits.connections_per_address."`
	ConnectionsPerNetwork *int `json:"connections_per_network" min:"0" max:"10000000" doc:"Open connections from one network on this listener, 0 for no limit; null means node.limits.connections_per_network."`

	NewConnectionsPerSecond *int `json:"new_connections_per_second" min:"0" max:"10000000" doc:"New connections of one client address per second on this listener, 0 for no limit; null means node.limits.new_connections_per_second."`
	FlowsPerAddress         *int `json:"flows_per_address" min:"0" max:"10000000" doc:"Open flows of one client address on this listener, 0 for no limit; null means node.limits.flows_per_address."`
	NewFlowsPerSecond       *int `json:"new_flows_per_second" min:"0" max:"10000000" doc:"New flows of one client address per second on this listener, 0 for no limit; null means node.limits.new_flows_per_second."`
}

// Log says what is logged, and where.
type Log struct {
	Level     string `json:"level" default:"info" enum:"debug,info,warn,error" doc:"Least severe level of the error log."`
	Access    string `json:"access" default:"stdout" doc:"Where the access log goes: stdout, a path, or off."`
	WAF       string `json:"waf" default:"stdout" doc:"Where the log of the web application firewall goes, an event for each exchange in which a rule matched: stdout, a path, or off."`
	WAFFormat string `json:"waf_format" default:"json" enum:"json,modsecurity" doc:"What the log of the web application firewall looks like: json, an object for each exchange; modsecurity, an error line of ModSecurity for each match."`

	WAFAudit        string   `json:"waf_audit" default:"off" doc:"Where the audit log of the web application firewall goes, in the form of Coraza's (JSON): off, stdout, or a path."`
	WAFAuditEngine  string   `json:"waf_audit_engine" default:"relevant_only" enum:"relevant_only,on" doc:"Which exchanges the audit log tells of: relevant_only, those that are events; on, all that the firewall inspects."`
	WAFAuditParts   []string `json:"waf_audit_parts" default:"[B, C, F, H, K]" unique:"true" enum:"B,C,F,H,K" doc:"What the audit log holds beside the request line: B the fields of the request, C its content, F the fields of the response, H who wrote it and error lines, K the rules that matched."`
	WAFAuditSecrets string   `json:"waf_audit_secrets" default:"mask" enum:"mask,keep" doc:"What the audit log does with passwords, tokens, cookies and their like: mask writes *** in their place, and leaves content out that is encoded (Content-Encoding), XML, or was not parsed; keep writes all."`
}

// Values of Log.WAFAuditEngine and Log.WAFAuditSecrets.
const (
	WAFAuditOn          = "on"
	WAFAuditKeepSecrets = "keep"
)

// Values of Log.WAFFormat.
const (
	WAFJSON        = "json"
	WAFModSecurity = "modsecurity"
)

// NodeWAF is what all instances of the plugin waf have in common.
type NodeWAF struct {
	Rules string `json:"rules" doc:"Directory with rules that replace or extend those that are built in; it is watched. See waf.md."`
}

// RouterFlavor says how routes are matched.
type RouterFlavor string

// Kong's router flavours.
const (
	FlavorCompatible  RouterFlavor = "traditional_compatible"
	FlavorExpressions RouterFlavor = "expressions"
)

// Values of Log.Access that are no path.
const (
	LogStdout = "stdout"
	LogOff    = "off"
)

// Limits are the bounds of the process. Every one has a safe default.
type Limits struct {
	Connections           int             `json:"connections" default:"65536" min:"1" max:"10000000" doc:"Open client connections in all."`
	ConnectionsPerAddress int             `json:"connections_per_address" default:"0" min:"0" max:"10000000" doc:"Open connections from one client address, or from one /64 of IPv6, on a listener; 0 means no limit."`
	ConnectionsPerNetwork int             `json:"connections_per_network" default:"0" min:"0" max:"10000000" doc:"Open connections from one network, a /24 of IPv4 or a /48 of IPv6, on a listener; 0 means no limit."`
	Flows                 int             `json:"flows" default:"65536" min:"1" max:"10000000" doc:"Open flows of datagrams in all; those of others are dropped above."`
	FlowsPerAddress       int             `json:"flows_per_address" default:"4096" min:"0" max:"10000000" doc:"Open flows of one client address, or of one /64 of IPv6, on a listener; 0 means no limit."`
	NewFlowsPerSecond     int             `json:"new_flows_per_second" default:"1000" min:"0" max:"10000000" doc:"New flows of one client address, or of one /64 of IPv6, per second on a listener, as many of them at once; 0 means no limit."`
	FlowIdleTimeout       schema.Duration `json:"flow_idle_timeout" default:"10m" min:"100ms" max:"24h" doc:"Longest time a flow may be silent; less if the service's read_timeout says so."`
	HelloBytes            schema.Size     `json:"hello_bytes" default:"16KiB" min:"1KiB" max:"16KiB" doc:"Bytes of a TLS ClientHello that is read for routing; the connection is closed above."`
	NewConnections        int             `json:"new_connections_per_second" default:"0" min:"0" max:"10000000" doc:"New connections of one client address, or of one /64 of IPv6, per second on a listener, as many of them at once; 0 means no limit."`
	BanTime               schema.Duration `json:"ban_time" default:"0s" min:"0s" max:"720h" doc:"How long a client that goes over new_connections_per_second is banned, on all listeners; 0: it is not."`
	HeadBytes             schema.Size     `json:"head_bytes" default:"16KiB" min:"1KiB" max:"1MiB" doc:"Bytes of a request line and its header fields; 431 above."`
	HeadFields            int             `json:"head_fields" default:"100" min:"1" max:"1000" doc:"Number of header fields of a request; 431 above."`
	TargetBytes           schema.Size     `json:"target_bytes" default:"8KiB" min:"256" max:"1MiB" doc:"Bytes of a request target; 414 above. At most head_bytes."`
	BodyBytes             schema.Size     `json:"body_bytes" default:"0" min:"0" doc:"Bytes of a request body; 413 above; 0 means no limit."`
	CacheBytes            schema.Size     `json:"cache_bytes" default:"128MiB" min:"0" doc:"Bytes of all answers that proxy-cache stores; the least wanted make room above; 0 stores none."`
	BodyBuffers           schema.Size     `json:"body_buffers" default:"256MiB" min:"1MiB" doc:"Bytes of the content of requests and responses that plugins hold at once, all together; 503 above."`
	HeaderTimeout         schema.Duration `json:"header_timeout" default:"10s" min:"100ms" max:"1h" doc:"Time a client has to send a request head, and before it a PROXY header, a ClientHello and the rest of the handshake, each."`
	IdleTimeout           schema.Duration `json:"idle_timeout" default:"60s" min:"100ms" max:"24h" doc:"Time a connection may be without a request."`
	ReadTimeout           schema.Duration `json:"read_timeout" default:"60s" min:"100ms" max:"24h" doc:"Time between two reads of a request body."`
	WriteTimeout          schema.Duration `json:"write_timeout" default:"60s" min:"100ms" max:"24h" doc:"Time between two writes of a response."`
	RequestsPerConnection int             `json:"requests_per_connection" default:"10000" min:"1" max:"1000000000" doc:"Requests after which a client connection is closed."`
	ChunkExtensionBytes   schema.Size     `json:"chunk_extension_bytes" default:"256" min:"0" max:"16KiB" doc:"Bytes of the extensions of one chunk of a request body."`
	TrailerBytes          schema.Size     `json:"trailer_bytes" default:"8KiB" min:"0" max:"1MiB" doc:"Bytes of the trailer fields of a body."`
	HTTP2Streams          int             `json:"http2_streams" default:"128" min:"1" max:"1000" doc:"Streams of an HTTP/2 connection at a time; further ones are refused."`
	HTTP2StreamWindow     schema.Size     `json:"http2_stream_window" default:"128KiB" min:"64KiB" max:"16MiB" doc:"Bytes of an HTTP/2 request's content that wait to be taken. At most http2_window."`
	HTTP2Window           schema.Size     `json:"http2_window" default:"512KiB" min:"64KiB" max:"64MiB" doc:"Bytes of the content of all requests of an HTTP/2 connection that wait to be taken, beside what http2_unread lends it."`
	HTTP2Unread           schema.Size     `json:"http2_unread" default:"64MiB" min:"0" doc:"Bytes of content that wait to be taken on all HTTP/2 connections, beyond half of http2_window of each: so much is lent to those where some requests do not get on, so that others do."`
	HTTP2Glitches         int             `json:"http2_glitches" default:"500" min:"10" max:"1000000" doc:"What a client may do on an HTTP/2 connection that is odd, or costs more than it is worth, before the connection is ended; a tenth is forgiven in a second."`
	ResponseHeadBytes     schema.Size     `json:"response_head_bytes" default:"64KiB" min:"1KiB" max:"1MiB" doc:"Bytes of an upstream's status line and header fields; 502 above."`
	UpstreamIdle          int             `json:"upstream_idle" default:"512" min:"0" max:"1000000" doc:"Idle connections kept per upstream pool; 0 closes each after use."`
	UpstreamIdleTimeout   schema.Duration `json:"upstream_idle_timeout" default:"60s" min:"100ms" max:"24h" doc:"Time an upstream connection may be idle."`
	UpstreamRequests      int             `json:"upstream_requests" default:"10000" min:"1" max:"1000000000" doc:"Requests after which an upstream connection is closed."`
}

// Address is where a socket listens: an IP address and a port, or nowhere.
type Address struct {
	Addr netip.Addr // the zero value means every IPv4 and IPv6 address
	Port uint16     // 0 lets the system choose
	Off  bool       // there is no listener; the other fields are zero
}

var _ schema.Text = (*Address)(nil)

// AddrPort returns the address and the port.
func (a Address) AddrPort() netip.AddrPort { return netip.AddrPortFrom(a.Addr, a.Port) }

// String returns the form that is written in the file.
func (a Address) String() string {
	switch {
	case a.Off:
		return "off"
	case !a.Addr.IsValid():
		return ":" + strconv.Itoa(int(a.Port))
	}
	return a.AddrPort().String()
}

// MarshalText returns the string form.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses host:port, :port, *:port or off. The host is an IP
// address or localhost, which stands for 127.0.0.1.
func (a *Address) UnmarshalText(text []byte) error {
	bad := &schema.Problem{
		Reason:   "expected an address and a port",
		Expected: `a value such as "127.0.0.1:8000", "[::1]:8000" or ":8000"`,
	}
	s := string(text)
	if s == "off" {
		*a = Address{Off: true}
		return nil
	}
	if rest, ok := strings.CutPrefix(s, "localhost:"); ok {
		s = "127.0.0.1:" + rest
	}
	if rest, ok := strings.CutPrefix(s, "*:"); ok {
		s = ":" + rest
	}
	if port, ok := strings.CutPrefix(s, ":"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return bad
		}
		*a = Address{Port: uint16(n)}
		return nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return bad
	}
	*a = Address{Addr: ap.Addr().Unmap(), Port: ap.Port()}
	return nil
}

// Describe implements schema.Text.
func (Address) Describe() schema.Description {
	return schema.Description{Kind: "string", Format: "address", Example: ":8000", Literal: true}
}
