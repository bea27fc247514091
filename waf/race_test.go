//go:build race

package waf

const raceEnabled = true // the rule set's tests take ten times as long
