package file

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// lease is a record in a folder of its own. Its version is the token, and its
// value names who holds it.
type lease struct {
	records *Records
	fence   store.Fence
	holder  string
}

var _ store.Lease = (*lease)(nil)

// Lease takes a name.
func (r *Records) Lease(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	if err := checkKey(name); err != nil {
		return nil, err
	}
	if ttl <= 0 || ttl > store.MaxLease {
		return nil, fmt.Errorf("leasing %q for %v: %w", name, ttl, store.ErrInvalid)
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now := time.Now()
	switch old, err := r.read(leaseFolder, name, now); {
	case err == nil && old.Expires.Sub(now) <= store.MaxLease:
		return nil, fmt.Errorf("leasing %q: %w", name, store.ErrHeld)
	case err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged):
		return nil, fmt.Errorf("leasing %q: %w", name, err)
	}
	// One that is damaged, or lasts longer than any may, which a clock that was
	// wrong has made, is as good as none: the new token fences it.
	token, err := r.next()
	if err != nil {
		return nil, fmt.Errorf("leasing %q: %w", name, err)
	}
	l := &lease{records: r, fence: store.Fence{Name: name, Token: token}, holder: holder()}
	if err := l.write(now.Add(ttl)); err != nil {
		return nil, fmt.Errorf("leasing %q: %w", name, err)
	}
	return l, nil
}

func (l *lease) write(until time.Time) error {
	return l.records.write(leaseFolder, store.Record{
		Key: l.fence.Name, Value: []byte(l.holder), Version: store.Version(l.fence.Token), Expires: until,
	})
}

// Fence returns what records put under the lease carry.
func (l *lease) Fence() store.Fence { return l.fence }

// Renew makes the lease end ttl from now.
func (l *lease) Renew(ctx context.Context, ttl time.Duration) error {
	if ttl <= 0 || ttl > store.MaxLease {
		return fmt.Errorf("renewing the lease of %q for %v: %w", l.fence.Name, ttl, store.ErrInvalid)
	}
	unlock, err := l.records.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now := time.Now()
	err = l.records.checkFence(l.fence, now)
	if err == nil {
		err = l.write(now.Add(ttl))
	}
	if err != nil {
		return fmt.Errorf("renewing the lease of %q: %w", l.fence.Name, err)
	}
	return nil
}

// Release ends the lease.
func (l *lease) Release(ctx context.Context) error {
	unlock, err := l.records.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	switch err := l.records.checkFence(l.fence, time.Now()); {
	case errors.Is(err, store.ErrFenced):
		return nil
	case err != nil:
		return fmt.Errorf("releasing %q: %w", l.fence.Name, err)
	}
	if err := l.records.remove(leaseFolder, l.fence.Name); err != nil {
		return fmt.Errorf("releasing %q: %w", l.fence.Name, err)
	}
	return nil
}

// checkFence reports whether a lease still is the one of its name. The caller
// holds the lock.
func (r *Records) checkFence(f store.Fence, now time.Time) error {
	if f == (store.Fence{}) {
		return nil
	}
	if checkKey(f.Name) != nil {
		return store.ErrFenced
	}
	held, err := r.read(leaseFolder, f.Name, now)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDamaged):
		return store.ErrFenced
	case err != nil:
		return err
	case uint64(held.Version) != f.Token:
		return store.ErrFenced
	}
	return nil
}
