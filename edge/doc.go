// Package edge turns desired state into what serves: it compiles a
// configuration into an immutable snapshot, swaps it in by one atomic pointer,
// and retires the old one when nothing is served by it any more.
package edge
