//go:build !race

package waf_test

// goldenStride has the golden scripts run in every way.
const goldenStride = 1

// ruleReloads is how often TestEnginesAreShared reloads other rules.
const ruleReloads = 20
