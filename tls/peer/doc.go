// Package peer says who a TLS client is: it verifies the certificates that a
// client showed against listed CA certificates, asks whether one of them has
// been revoked, and reads the names that the leaf vouches for.
//
// A Revocation is one per process and outlives reloads: it holds what is known
// of CRLs, OCSP answers and verified paths. A Verifier is what one policy wants;
// it is immutable and made when a configuration is compiled.
//
// The package knows no transport, no HTTP request and no consumer. It does not
// check that the client owns the leaf's key: the handshake does that. A verdict
// holds until its Identity.Until and until Verifier.Generation changes; who
// keeps one longer than that keeps it wrongly.
package peer
