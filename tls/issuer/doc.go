// Package issuer gets certificates from authorities that speak ACME (RFC 8555)
// and has them at hand for handshakes.
//
// An Issuer owns a set of names. What it has got for them it keeps in
// store.Records, where other nodes find it too: a name is ordered under a lease,
// and what is put after the lease was lost is refused. Each name stands on
// terms, which say which authorities are asked, how control over the name is
// proved, and when a certificate is renewed.
//
// The protocol itself is acmez's. The package knows no listener: whoever serves
// HTTP asks HTTPChallenge, and whoever shakes hands asks ChallengeConfig and
// GetCertificate.
package issuer
