//go:build !race

package edge_test

// mostAllocs is what a plain exchange may allocate, beyond the two strings of
// its heads: nothing but a share of what is made now and then.
const mostAllocs = 2.5

// goldenStride has the golden scripts run in every way.
const goldenStride = 1

// stormRoutes is how many routes the storm's configurations have.
const stormRoutes = 15000

// stormChanges and stormFiles are how often TestReloadStormRoutes changes the
// configuration by Apply and by the file, stormVariants between how many.
const (
	stormChanges  = 1000
	stormFiles    = 50
	stormVariants = 6
)
