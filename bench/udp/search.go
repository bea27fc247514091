package udp

import (
	"context"
	"fmt"
)

const (
	firstRate = 1000
	// searchSteps is how often the search halves what it does not know yet.
	searchSteps = 6
)

// search doubles the rate until too much is lost, halves the gap a few times,
// and returns the result at the highest rate that kept to the loss.
func (o *Options) search(ctx context.Context) (*Result, error) {
	var best *Result
	try := func(rate float64) (ok bool, err error) {
		at := *o
		at.Rate = rate
		r, err := at.once(ctx)
		if err != nil {
			return false, err
		}
		ok = r.Loss() <= o.Loss && r.SentPerSecond >= 0.98*rate
		if o.Progress != nil {
			// Progress that cannot be written is no reason to stop measuring.
			_, _ = fmt.Fprintf(o.Progress, "%.0f/s: sent %.0f/s, lost %.3f %%\n", rate, r.SentPerSecond, 100*r.Loss())
		}
		if ok || best == nil {
			best = r
		}
		return ok, nil
	}
	low, high := 0.0, float64(firstRate)
	for {
		ok, err := try(high)
		if err != nil {
			return nil, err
		}
		if !ok || high >= maxRate || ctx.Err() != nil {
			break
		}
		low, high = high, min(2*high, maxRate)
	}
	for range searchSteps {
		if ctx.Err() != nil {
			break
		}
		middle := (low + high) / 2
		ok, err := try(middle)
		if err != nil {
			return nil, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	best.Interrupted = best.Interrupted || ctx.Err() != nil
	best.MaxLoss = o.Loss
	return best, nil
}
