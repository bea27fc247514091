// Package prometheus is the plugin prometheus: it counts what goes through
// services and routes, under the names that Kong's plugin has.
//
// # How it works
//
// The series stand at /metrics of the status listener, beside Bulwark's own, while
// at least one instance is enabled. What an instance counts beyond that is said by
// its flags:
//
//   - status_code_metrics: kong_http_requests_total, and of streams
//     kong_stream_sessions_total
//   - latency_metrics: kong_kong_latency_ms, kong_upstream_latency_ms and
//     kong_request_latency_ms, and of streams kong_session_duration_ms
//   - bandwidth_metrics: kong_bandwidth_bytes, of the sizes that the access log
//     tells
//   - per_consumer: the label consumer of kong_http_requests_total and
//     kong_bandwidth_bytes, which is the consumer's username, or its id
//   - upstream_health_metrics: kong_upstream_target_health, with the subsystem
//     stream for upstreams of services of streams, http for the others, and both
//     for those that both use
//
// Without any flag there are kong_node_info, kong_nginx_connections_total,
// kong_nginx_requests_total and kong_datastore_reachable, which is always 1.
//
// The label service is the service's name, or its host; route is the route's name,
// or its id; source is "service" for an answer of the upstream, else "kong". Code
// is the status that the log tells. Exchanges and streams without a service are not
// counted, and streams count when they have ended. The series of a route or consumer
// vanish when a configuration without it is loaded, or with other names.
//
// An instance whose protocols are Kong's default counts requests alone;
// protocols of [http, https, tcp, tls, tls_passthrough, udp] count streams too.
//
// An exchange finds its counters by two ids and adds to them; no lock is taken and
// no text made. Metrics are written out when they are scraped.
//
// # Limits
//
// 65536 pairs of route and consumer have series of their own; further ones share
// the consumer "other". 64 pairs of status and source are told for each of them;
// further ones share the code "other". What is particular to Kong's workers (Lua
// memory, timers) has no series, and there is no
// ai_metrics or wasm_metrics yet.
package prometheus
