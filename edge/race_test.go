//go:build race

package edge_test

// mostAllocs is what a plain exchange may allocate under the race detector,
// which lets pools forget a part of what they are given.
const mostAllocs = 25
