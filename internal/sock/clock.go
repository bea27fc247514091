package sock

import "time"

// epoch anchors Now. Only differences count.
var epoch = time.Now()

// Now returns a monotonic time in nanoseconds since the process started. It
// costs half of time.Now and is what deadlines and latencies are counted in.
func Now() int64 { return int64(time.Since(epoch)) }

// Time returns the wall clock's reading at Now() == at, as far as the wall
// clock was not set since.
func Time(at int64) time.Time { return epoch.Add(time.Duration(at)) }
