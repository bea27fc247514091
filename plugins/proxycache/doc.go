// Package proxycache is the plugin proxy-cache: it stores answers of upstreams
// in memory and answers later requests from there.
//
// # How it works
//
// An answer is stored under a SHA-256 of what it may depend on: the route, the
// consumer (and the Authorization that the upstream is sent beside it), the method, scheme, port and authority (and what X-Forwarded-Proto,
// -Host, -Port, -Path and -Prefix say of them), the path as it was asked for and
// as the upstream is sent it, the query arguments (sorted by decoded name; only
// those of vary_query_params, if there are some, and those whose name is not
// clear), and the header fields of vary_headers. Fields that the answer itself
// names in Vary are added to that; an answer with Vary: *, or that depends on
// X-Real-IP, X-Forwarded-For, Via or X-Kong-Request-Id, is not stored. Fields
// that Connection nominates are not sent, and count as not there.
//
// What request-transformer made of a request counts too: the method and Host
// that the upstream is sent, the query before and after, and, once any plugin has
// edited the header, all its fields. Excepted are ids (Kong-Request-ID,
// X-Request-ID, X-Correlation-ID and the like), and, as long as they are the
// client's own, fields such as User-Agent, Accept-Encoding, Content-Type,
// traceparent and the conditions. A correlation-id under another name makes every
// request one of its own. A request whose content was made is not answered from
// the cache.
//
// Clients are told by X-Cache-Status: Hit, the answer was stored; Miss, it was
// not and now is; Refresh, it was, but may not be used any more; Bypass, the
// request or the answer is none for the cache. X-Cache-Key is what it is stored
// under, and Age, in seconds, how old it is.
//
// Requests for the same, while the first of them is on its way, wait for its
// answer, at most 5 s; then one of them takes its place. They do not wait if an
// answer was not stored within the last 5 s. A request whose If-None-Match names the stored answer's
// ETag is answered with 304. An answer to HEAD is only stored for HEAD.
//
// Without cache_control an answer is fresh for cache_ttl, whatever it says of
// itself. With it, requests with no-store or no-cache bypass the cache, max-age,
// min-fresh and max-stale are obeyed, and only-if-cached is answered with 504 if
// nothing is stored. Answers with no-store, no-cache or private are not stored,
// and others are as long as s-maxage, max-age or Expires say, in this order;
// without any of these they are not. A stale answer is used for max-stale, and
// never with must-revalidate, proxy-revalidate or s-maxage. It is also used, by
// RFC 5861, while another request is on its way for a new one, within
// stale-while-revalidate, and if the upstream cannot be asked or answers 500, 502,
// 503 or 504, within stale-if-error; never with must-revalidate or
// proxy-revalidate, nor for requests with max-age or min-fresh. The request that
// asks for the new one waits for it. Those times are of answers; in requests they
// do nothing.
//
// With cache_control, a request of another method than GET, HEAD, OPTIONS and
// TRACE that succeeds forgets all that is stored of its URI (host, path and
// query), for all methods, consumers and fields, and on all routes. Some other
// URIs, one in 65536, are forgotten with it. There is no other way to forget what
// is stored but a restart.
//
// The cache stores what response-transformer made of an answer, and what
// compression has not compressed yet. What other plugins add to an answer is
// stored too, if they did so before; they add it anew to an answer from the
// cache. Once a reload has changed what the plugins in front of the cache make of
// answers, what was stored before is not used any more.
//
// # Differences from Kong
//
// Kong stores some answers that this plugin does not, because another client
// could get what is not meant for it:
//
//   - answers with Set-Cookie;
//   - answers to requests with Authorization that reaches the upstream, unless a
//     plugin has recognised the consumer, where they serve the same credentials
//     only, or cache_control is set and the answer has public, s-maxage or
//     must-revalidate (RFC 9111 section 3.5);
//   - answers to requests with content, since the content is no part of the key.
//
// Scheme and authority are part of the key, and Vary is obeyed, with and without
// cache_control.
//
// # Metrics
//
// bulwark_proxy_cache_requests_total counts requests by status: hit, stale, miss,
// refresh and bypass. bulwark_proxy_cache_entries and bulwark_proxy_cache_bytes
// tell what is stored, bulwark_proxy_cache_evictions_total what made room.
//
// # Limits
//
// All stores together take node.limits.cache_bytes; what was not asked for
// lately makes room. One answer may take a 64th of it, and answers on their way
// into the store a quarter of it beside; what is larger passes without being
// stored. Answers that were broken off are not stored. Instances on other nodes
// have stores of their own, and a restart empties the store. A key that sorts
// more than 64 query arguments takes them as they stand.
package proxycache
