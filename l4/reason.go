package l4

// Reason is the short code of why a stream ended. It stands in the log entry
// and counts in bulwark_stream_terminations_total.
type Reason uint8

// The reasons. New ones go to the end of their group.
const (
	ReasonNone Reason = iota // both sides have ended it, or a flow fell silent after answers

	// The client's doing.
	ReasonNoRoute      // no route matched
	ReasonBadHello     // the ClientHello is malformed, too long or late
	ReasonTLSHandshake // the handshake with the client did not complete
	ReasonRefused      // a plugin refused it
	ReasonClientReset  // the client broke the connection off
	ReasonIdle         // no byte came in either direction for the idle timeout
	ReasonOversize     // a datagram larger than can be passed on
	ReasonProxyHeader  // a PROXY header that is missing or malformed
	ReasonCertificate  // its certificate, by which the stream went on, counts no longer

	// The upstream's doing.
	ReasonNoEndpoint      // nothing to send to
	ReasonNameResolution  // the upstream's name has no address
	ReasonUpstreamConnect // refused or unreachable
	ReasonUpstreamTimeout // connecting took too long
	ReasonUpstreamTLS     // handshake or verification
	ReasonUpstreamReset   // the upstream broke the connection off

	// Our own doing.
	ReasonInternal  // a broken invariant
	ReasonDraining  // the drain time was over
	ReasonOverLimit // a bound of node.limits or node.resilience

	reasonCount
)

var reasonNames = [reasonCount]string{
	ReasonNone:            "none",
	ReasonNoRoute:         "no_route",
	ReasonBadHello:        "bad_hello",
	ReasonTLSHandshake:    "tls_handshake",
	ReasonRefused:         "refused",
	ReasonClientReset:     "client_reset",
	ReasonIdle:            "idle",
	ReasonOversize:        "oversize",
	ReasonProxyHeader:     "proxy_header",
	ReasonCertificate:     "client_certificate",
	ReasonNoEndpoint:      "no_endpoint",
	ReasonNameResolution:  "name_resolution",
	ReasonUpstreamConnect: "upstream_connect",
	ReasonUpstreamTimeout: "upstream_timeout",
	ReasonUpstreamTLS:     "upstream_tls",
	ReasonUpstreamReset:   "upstream_reset",
	ReasonInternal:        "internal",
	ReasonDraining:        "draining",
	ReasonOverLimit:       "over_limit",
}

// String returns the code as it stands in logs and metrics.
func (r Reason) String() string { return reasonNames[r] }

// ReasonNames returns every code, indexed by Reason.
func ReasonNames() []string { return reasonNames[:] }
