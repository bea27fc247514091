package l4

import (
	"errors"
	"os"
	"time"
)

// ErrDraining ends a connection that was idle when a drain began.
var ErrDraining = errors.New("draining")

// errDeadline is what an interrupted or timed-out wait returns.
var errDeadline = os.ErrDeadlineExceeded

// drainGrace is how long a connection that starts to wait for a request during
// a drain still waits: long enough for a request that is on its way, short
// enough not to hold the drain up.
const drainGrace = 250 * time.Millisecond
