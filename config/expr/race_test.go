//go:build race

package expr

// raceEnabled says that the race detector runs, under which pools of the
// standard library drop what they are given now and then.
const raceEnabled = true
