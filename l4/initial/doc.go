// Package initial reads what can be seen of QUIC packets from outside: their
// headers (ParseHeader), and within the Initial packets of a client, whose keys
// follow from what they show, its TLS ClientHello (Assembler). It knows versions
// 1 (RFC 9000, RFC 9001) and 2 (RFC 9369), and of others what holds for all
// (RFC 8999).
//
// It only looks: the datagrams stay as they are, nothing is answered, and no
// connection is kept. What breaks a rule is an error and never repaired.
package initial
