//go:build race

package edge_test

// mostAllocs is what a plain exchange may allocate under the race detector,
// which lets pools forget a part of what they are given.
const mostAllocs = 25

// goldenStride leaves most ways to split a script's bytes to the run without the
// detector.
const goldenStride = 4

// stormRoutes is how many routes the storm's configurations have. To read the
// 15,000 of the run without the detector would take most of this one.
const stormRoutes = 5000

// stormChanges and stormFiles are how often TestReloadStormRoutes changes the
// configuration by Apply and by the file, stormVariants between how many. Under
// the race detector a change takes ten times as long, and so does reading a file.
const (
	stormChanges  = 40
	stormFiles    = 2
	stormVariants = 3
)
