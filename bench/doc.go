// Package bench runs Bulwark side by side with its peers and reports what each
// request, byte and idle connection cost.
//
// Every contestant is pinned to one core, in turn; the load (wrk) and the
// origin (nginx) share another. The cost is the CPU time that the contestant's
// processes report of themselves, so it does not matter which of the two cores
// is the bottleneck. Rounds alternate between the contestants in rotating
// order, and medians are compared, so that a change of the machine's mood
// meets all of them.
//
// The configuration of each contestant is a template in the folder peers. The
// load generator for other uses is package load, the demo origin package
// origin; this package does not need them.
package bench
