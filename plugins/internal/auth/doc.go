// Package auth is what plugins that recognise clients share: the rule of the
// anonymous consumer, the fields that tell the upstream who the client is, and
// the judging of client certificates.
//
// # Several of them on one exchange
//
// One without an anonymous consumer answers a client that it does not recognise:
// all such must recognise it. Where all have an anonymous consumer, the first
// that recognises the client ends the search, and the anonymous consumer is the
// client's if none does. That is Kong's rule.
//
// # Fields
//
// Whatever a client sends under the names of the fields is removed, whether the
// client is recognised or not, written with hyphens or with underscores, and its
// trailers are dropped.
package auth
