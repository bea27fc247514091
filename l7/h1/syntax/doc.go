// Package syntax is the HTTP/1 message grammar (RFC 9112 and the field rules of
// RFC 9110), for both roles: the head of a request or an answer, the chunked
// coding, and the bytes of what is written.
//
// It is pure. It reads no socket, starts no goroutine and keeps no state but a
// ChunkDecoder's. The bytes it is given are hostile: whatever leaves the
// grammar is refused with an *l7.Error that names the broken rule and is never
// repaired, because two parties that repair differently is how requests are
// smuggled. Every refusal means that the connection cannot be used further.
//
// Nothing is copied. A head is one string made by the caller, and all names and
// values are cut from it; parsing allocates only when the slice of fields
// grows. The *l7.Error values are shared and must not be changed.
//
// Where the grammar leaves a choice, the stricter reading is taken:
//
//   - Lines end in CRLF; a bare CR or LF is refused everywhere.
//   - A request target holds visible ASCII without "#". Browsers and scripts
//     send ", <, >, ^, `, {, |, } and [ ] unescaped, so these pass; "\" passes in
//     a query but not in a path, where some servers read it as "/". A path's
//     "%" must be followed by two hexadecimal digits.
//   - A host is letters, digits and -._~!$&'()*+,;= or an IPv6 address in
//     brackets. No "%", no user information, no empty port.
//   - Content-Length and Transfer-Encoding stand at most once, never together
//     and never as a list. The only transfer coding is chunked.
//   - Chunk extensions are checked and dropped. White space around them is
//     refused.
//   - Trailer fields that would change framing, routing, identity or the
//     meaning of the content are refused.
package syntax
