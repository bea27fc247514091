package config

import "github.com/bulwark-edge/bulwark/config/schema"

// Upstream is a virtual host name that stands for several targets.
//
// Kong: kong/db/schema/entities/upstreams.lua.
type Upstream struct {
	ID                     ID               `json:"id" doc:"Unique id. Made from the name when absent."`
	Name                   string           `json:"name" required:"true" check:"upstream_name" vault:"false" doc:"Unique host name, which services use as their host."`
	Algorithm              string           `json:"algorithm" default:"round-robin" enum:"consistent-hashing,least-connections,round-robin,latency" doc:"How a target is picked."`
	HashOn                 string           `json:"hash_on" default:"none" enum:"none,consumer,ip,header,cookie,path,query_arg,uri_capture" doc:"What consistent hashing uses; anything but none makes the algorithm consistent-hashing, unless that is least-connections or latency."`
	HashFallback           string           `json:"hash_fallback" default:"none" enum:"none,consumer,ip,header,cookie,path,query_arg,uri_capture" doc:"What consistent hashing uses when hash_on yields nothing."`
	HashOnHeader           string           `json:"hash_on_header" check:"header_name" doc:"Header field to hash on."`
	HashFallbackHeader     string           `json:"hash_fallback_header" check:"header_name" doc:"Header field to fall back to."`
	HashOnCookie           string           `json:"hash_on_cookie" match:"^[!#$%&'*+.^_\\x60|~0-9A-Za-z-]+$" doc:"Cookie to hash on; a client without it is given one."`
	HashOnCookiePath       string           `json:"hash_on_cookie_path" default:"/" check:"path" doc:"Path of the cookie that is made when it is missing."`
	HashOnQueryArg         string           `json:"hash_on_query_arg" doc:"Query argument to hash on."`
	HashFallbackQueryArg   string           `json:"hash_fallback_query_arg" doc:"Query argument to fall back to."`
	HashOnURICapture       string           `json:"hash_on_uri_capture" doc:"Named group of the route's path to hash on."`
	HashFallbackURICapture string           `json:"hash_fallback_uri_capture" doc:"Named group to fall back to."`
	Slots                  int              `json:"slots" default:"10000" min:"10" max:"65536" doc:"Size of the ring of consistent hashing."`
	Healthchecks           Healthchecks     `json:"healthchecks" doc:"Active and passive health checks."`
	Tags                   []string         `json:"tags" check:"tag" unique:"true" vault:"false" doc:"Free labels for selecting entities."`
	HostHeader             string           `json:"host_header" check:"host_port" doc:"Host sent to the targets in place of their own name."`
	ClientCertificate      Ref[Certificate] `json:"client_certificate" doc:"Certificate shown to the targets, unless the service has its own."`
	UseSRVName             bool             `json:"use_srv_name" default:"false" doc:"Whether the name in an SRV record is sent as the Host, and as the server name in TLS."`
	CreatedAt              Timestamp        `json:"created_at" min:"0" doc:"Unix time of creation, in seconds."`
	UpdatedAt              Timestamp        `json:"updated_at" min:"0" doc:"Unix time of the last change, in seconds."`

	refs schema.References
}

// Healthchecks says how targets are found to be healthy or not. With the
// defaults no check runs.
type Healthchecks struct {
	Active    ActiveCheck  `json:"active" doc:"Probes sent by the edge."`
	Passive   PassiveCheck `json:"passive" doc:"Judgement from the traffic itself. Without active checks a target that it found unhealthy stays so until a reload changes its upstream's healthchecks or the process is started anew."`
	Threshold float64      `json:"threshold" default:"0" min:"0" max:"100" doc:"Percentage of available weight at or below which the whole upstream is unhealthy."`
}

// ActiveCheck is a probe that the edge sends.
type ActiveCheck struct {
	Type                   string              `json:"type" default:"http" enum:"tcp,http,https,udp,grpc,grpcs" unserved:"grpc,grpcs" doc:"Kind of probe."`
	Timeout                schema.Seconds      `json:"timeout" default:"1" min:"0" max:"65535" doc:"Seconds a probe may take from its start to its verdict; 0 means 60."`
	Concurrency            int                 `json:"concurrency" default:"10" min:"1" max:"2147483648" doc:"Probes of this upstream in flight at once; never more than 256 of all upstreams together."`
	HTTPPath               string              `json:"http_path" default:"/" check:"path" doc:"Path of an HTTP probe."`
	HTTPSSNI               string              `json:"https_sni" check:"sni" doc:"Server name of an HTTPS probe; null means the host name of the target."`
	HTTPSVerifyCertificate bool                `json:"https_verify_certificate" default:"true" doc:"Whether an HTTPS probe verifies the certificate, against the system's authorities and the ca_certificates of the services that use the upstream."`
	Headers                map[string][]string `json:"headers" keys:"header_name" check:"field_value" doc:"Header fields of an HTTP probe, without those that say how a message is framed."`
	UDPSend                schema.Hex          `json:"udp_send" omit:"zero" doc:"Payload of the datagram that a UDP probe sends, in hexadecimal digits, which may stand in groups: at most 1232 bytes. A UDP probe needs it. Kong has no such probe."`
	UDPExpect              schema.Hex          `json:"udp_expect" omit:"zero" doc:"First bytes of the answer that a UDP probe expects, written like udp_send; null means any answer. Answers that begin in another way are as none."`
	Healthy                ActiveHealthy       `json:"healthy" doc:"When a target becomes healthy."`
	Unhealthy              ActiveUnhealthy     `json:"unhealthy" doc:"When a target becomes unhealthy."`
}

// Values of ActiveCheck.Type and PassiveCheck.Type that look at something else
// than HTTP.
const (
	ProbeTCP = "tcp"
	ProbeUDP = "udp" // of ActiveCheck alone
)

// ActiveHealthy says when probes make a target healthy.
type ActiveHealthy struct {
	Interval     schema.Seconds `json:"interval" default:"0" min:"0" max:"65535" doc:"Seconds between probes of a healthy target; 0 means none."`
	HTTPStatuses []int          `json:"http_statuses" default:"[200, 302]" min:"100" max:"999" doc:"Statuses that count as a success."`
	Successes    int            `json:"successes" default:"0" min:"0" max:"255" doc:"Successes that make a target healthy; 0 means never."`
}

// ActiveUnhealthy says when probes make a target unhealthy.
type ActiveUnhealthy struct {
	Interval     schema.Seconds `json:"interval" default:"0" min:"0" max:"65535" doc:"Seconds between probes of an unhealthy target; 0 means none: such a target then gets no traffic until the checks are changed or the process is started anew."`
	HTTPStatuses []int          `json:"http_statuses" default:"[429, 404, 500, 501, 502, 503, 504, 505]" min:"100" max:"999" doc:"Statuses that count as a failure."`
	TCPFailures  int            `json:"tcp_failures" default:"0" min:"0" max:"255" doc:"Connection failures that make a target unhealthy; 0 means never."`
	Timeouts     int            `json:"timeouts" default:"0" min:"0" max:"255" doc:"Timeouts that make a target unhealthy; 0 means never."`
	HTTPFailures int            `json:"http_failures" default:"0" min:"0" max:"255" doc:"Failures by status that make a target unhealthy; 0 means never."`
}

// PassiveCheck judges targets by the traffic itself.
type PassiveCheck struct {
	Type      string           `json:"type" default:"http" enum:"tcp,http,https,grpc,grpcs" doc:"Kind of traffic."`
	Healthy   PassiveHealthy   `json:"healthy" doc:"When a target becomes healthy."`
	Unhealthy PassiveUnhealthy `json:"unhealthy" doc:"When a target becomes unhealthy."`
}

// PassiveHealthy says when traffic makes a target healthy.
type PassiveHealthy struct {
	HTTPStatuses []int `json:"http_statuses" default:"[200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308]" min:"100" max:"999" doc:"Statuses that count as a success."`
	Successes    int   `json:"successes" default:"0" min:"0" max:"255" doc:"Successes that make a target healthy; 0 means never."`
}

// PassiveUnhealthy says when traffic makes a target unhealthy.
type PassiveUnhealthy struct {
	HTTPStatuses []int `json:"http_statuses" default:"[429, 500, 503]" min:"100" max:"999" doc:"Statuses that count as a failure."`
	TCPFailures  int   `json:"tcp_failures" default:"0" min:"0" max:"255" doc:"Connection failures that make a target unhealthy; 0 means never."`
	Timeouts     int   `json:"timeouts" default:"0" min:"0" max:"255" doc:"Timeouts that make a target unhealthy; 0 means never."`
	HTTPFailures int   `json:"http_failures" default:"0" min:"0" max:"255" doc:"Failures by status that make a target unhealthy; 0 means never."`
}
