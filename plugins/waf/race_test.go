//go:build race

package waf_test

// goldenStride leaves most ways to split a script's bytes to the run without the
// detector.
const goldenStride = 4

// ruleReloads is how often TestEnginesAreShared reloads other rules: each time the
// Core Rule Set is compiled, which takes ten times as long under the detector.
const ruleReloads = 3
