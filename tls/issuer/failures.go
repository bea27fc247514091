package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// failuresKept is how long it is remembered beyond its pause that a name could
// not be ordered.
const failuresKept = 24 * time.Hour

// failures is what went wrong with a name, since the last time that an order
// went well. It is stored: neither a restart nor another node may ask an
// authority more often than its pauses allow.
type failures struct {
	CAs   map[string]failed `json:"cas"`
	Error string            `json:"error"` // the last one
}

type failed struct {
	Count int       `json:"count"`
	Until time.Time `json:"until"`
}

func loadFailures(ctx context.Context, records store.Records, name string) (*failures, error) {
	f := new(failures)
	rec, err := records.Get(ctx, prefixFailures+name)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
	case err != nil:
		return nil, err
	default:
		if json.Unmarshal(rec.Value, f) != nil {
			f = new(failures)
		}
	}
	if f.CAs == nil {
		f.CAs = make(map[string]failed)
	}
	return f, nil
}

// until returns when an authority may be asked again.
func (f *failures) until(ca string) time.Time { return f.CAs[ca].Until }

// error returns what is told while no authority may be asked: what went wrong with
// the name, or why one of them is left alone by all.
func (f *failures) error(why string) error {
	switch {
	case f.Error != "":
		return errors.New(f.Error)
	case why != "":
		return fmt.Errorf("%w: %s", errQuiet, why)
	}
	return errQuiet
}

var errQuiet = errors.New("the authorities are left alone for a while")

// add notes that an authority failed, and returns when it may be asked again: after
// the pause of the terms, or later if the authority said so.
func (f *failures) add(ca string, err error, t *Terms, retry time.Time) time.Time {
	n := f.CAs[ca].Count + 1
	pause := t.pause(n)
	at := time.Now().Add(pause + rand.N(pause/10+1))
	if retry.After(at) {
		at = retry
	}
	f.CAs[ca] = failed{n, at}
	f.Error = brief(err)
	return at
}

func (f *failures) save(ctx context.Context, records store.Records, name string, fence store.Fence) error {
	var last time.Time
	for _, ca := range f.CAs {
		if ca.Until.After(last) {
			last = ca.Until
		}
	}
	value, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = replace(ctx, records, store.Record{
		Key: prefixFailures + name, Value: value, Expires: last.Add(failuresKept), Fence: fence,
	})
	return err
}
