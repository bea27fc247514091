package l7

// Reason is the short code of an early termination: why an exchange ended
// other than by a complete answer of the upstream. It stands in the access log
// and counts in bulwark_terminations_total.
type Reason uint8

// The reasons. New ones go to the end of their group; Names lists their codes.
const (
	ReasonNone Reason = iota

	// The client's doing.
	ReasonBadRequest     // broken syntax or framing (400)
	ReasonHeadTooLarge   // request line or fields over their bound (400, 414, 431)
	ReasonBodyTooLarge   // body over its bound (413)
	ReasonHeaderTimeout  // the head did not arrive in time (408)
	ReasonBodyTimeout    // the body stalled (408)
	ReasonClientGone     // the client left (499)
	ReasonWriteStall     // the client stopped reading the answer
	ReasonUnsupported    // unknown transfer coding or HTTP version (501, 505)
	ReasonExpectation    // unknown Expect (417)
	ReasonPlainOnTLS     // plain HTTP on a TLS port (400)
	ReasonTLSHandshake   // the handshake did not complete
	ReasonNoRoute        // no route matched (404)
	ReasonHTTPSRequired  // an https-only route was asked over http (426 or a redirect)
	ReasonPlugin         // a plugin answered
	ReasonConnectRefused // method CONNECT (405)
	ReasonMisdirected    // the connection's handshake was not one for the host (421)
	ReasonCertificate    // its certificate, by which the exchange went on, counts no longer
	ReasonWAF            // the web application firewall denied it, or could not inspect it
	ReasonNotGRPC        // a gRPC route was asked by what is none, or not over HTTP/2 (415, 426)
	ReasonHTTP2Flood     // too many frames on a connection that cost more than they are worth

	// The upstream's doing.
	ReasonNoEndpoint       // nothing to send to (503)
	ReasonNameResolution   // the upstream's name has no address (503)
	ReasonUpstreamConnect  // refused or unreachable (502)
	ReasonUpstreamTimeout  // connect, send or read took too long (504)
	ReasonUpstreamTLS      // handshake or verification (502)
	ReasonUpstreamClosed   // closed before or within the answer (502)
	ReasonUpstreamProtocol // an answer that is not HTTP (502)

	// Our own doing.
	ReasonInternal  // a broken invariant (500)
	ReasonDraining  // the drain time was over
	ReasonOverLimit // a bound of node.limits or node.resilience (503)
	ReasonPending   // every endpoint is opening as many connections as node.resilience.breaker.pending allows (503)

	reasonCount
)

var reasonNames = [reasonCount]string{
	ReasonNone:             "none",
	ReasonBadRequest:       "bad_request",
	ReasonHeadTooLarge:     "head_too_large",
	ReasonBodyTooLarge:     "body_too_large",
	ReasonHeaderTimeout:    "header_timeout",
	ReasonBodyTimeout:      "body_timeout",
	ReasonClientGone:       "client_gone",
	ReasonWriteStall:       "write_stall",
	ReasonUnsupported:      "unsupported",
	ReasonExpectation:      "expectation",
	ReasonPlainOnTLS:       "plain_on_tls",
	ReasonTLSHandshake:     "tls_handshake",
	ReasonNoRoute:          "no_route",
	ReasonHTTPSRequired:    "https_required",
	ReasonPlugin:           "plugin",
	ReasonConnectRefused:   "connect_refused",
	ReasonMisdirected:      "misdirected",
	ReasonCertificate:      "client_certificate",
	ReasonWAF:              "waf",
	ReasonNotGRPC:          "not_grpc",
	ReasonHTTP2Flood:       "http2_flood",
	ReasonNoEndpoint:       "no_endpoint",
	ReasonNameResolution:   "name_resolution",
	ReasonUpstreamConnect:  "upstream_connect",
	ReasonUpstreamTimeout:  "upstream_timeout",
	ReasonUpstreamTLS:      "upstream_tls",
	ReasonUpstreamClosed:   "upstream_closed",
	ReasonUpstreamProtocol: "upstream_protocol",
	ReasonInternal:         "internal",
	ReasonDraining:         "draining",
	ReasonOverLimit:        "over_limit",
	ReasonPending:          "pending_limit",
}

// String returns the code as it stands in logs and metrics.
func (r Reason) String() string { return reasonNames[r] }

// ReasonNames returns every code, indexed by Reason.
func ReasonNames() []string { return reasonNames[:] }
