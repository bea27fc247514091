//go:build race

package l7

// raceEnabled says whether the race detector runs, under which pools of the
// standard library, that of regular expressions among them, drop what they are
// given now and then.
const raceEnabled = true
