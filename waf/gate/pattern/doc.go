// Package pattern tells whether a regular expression matches, in a few
// nanoseconds a byte and without allocating: with states that are made when they
// are first met, in place of the simulation that package regexp runs for each
// string anew. Where a match lies, and what its groups hold, regexp is asked.
//
// Its answers are regexp's for every expression and every string, those that
// are no UTF-8 among them; for patterns over bytes they are those of
// rsc.io/binaryregexp. What cannot be told within the bounds of states is asked
// of these packages, which need no states.
//
// It knows no rules and no engine.
package pattern
