// Package cors is the plugin cors: it tells browsers which origins may use a
// service (Cross-Origin Resource Sharing, the Fetch standard).
//
// # How it works
//
// A preflight, which is OPTIONS with the fields Origin and
// Access-Control-Request-Method, is answered with 200 and no content before
// anything else of the gateway chain runs. Every other answer, also one that
// Bulwark makes itself, gets Access-Control-Allow-Origin and its companions.
//
// # Origins
//
// Without origins, or with "*" alone, every origin is allowed, by "*". A single
// origin without characters of an expression is told to everybody as it stands.
// Otherwise the request's Origin is looked for in the list: an entry of letters,
// digits and the characters . : / - must equal it, where the port of the scheme
// itself may be left out; any other entry is an expression in RE2 syntax that must
// match all of the origin, or all of its host if the expression has no colon. A
// "*" in a longer list allows every origin. When nothing matches, a field
// Access-Control-Allow-Origin of the upstream is removed.
//
// Answers carry Vary: Origin unless every origin is allowed, also those to
// requests without Origin. With credentials,
// an answer that would say "*" names the request's origin instead, and varies by
// it too.
//
// With preflight_continue a preflight goes to the upstream, whose answer is
// passed on as it is.
package cors
