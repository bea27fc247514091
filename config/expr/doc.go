// Package expr is Kong's expressions language, in which a route says in one
// text which requests it wants:
//
//	http.host == "api.test" && (http.path ^= "/v1" || any(http.headers.x_beta) == "on")
//
// Parse checks a text and its types and compiles it; Eval asks it of the facts
// of a request or connection, without allocating. The package knows no route
// and no socket: l7 asks by requests, l4 may by connections.
//
// A field without a value makes every comparison with it false, also !=. A
// field with several values, a header field or a query argument that is
// repeated, must satisfy the comparison with all of them; within any(), with
// one.
//
// && and || may not stand side by side without parentheses. Versions of Kong
// differ in which of them binds more tightly, and all differ from what most
// programming languages do; a route that means another thing than its author
// thought is refused here.
package expr
