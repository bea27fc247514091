// Package store says what a place is that keeps state across restarts and
// between nodes. Its children are such places.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Bounds that hold for every place. A key is UTF-8 text without control
// characters and without an empty part between its slashes.
const (
	MaxKeyBytes   = 512
	MaxValueBytes = 4 << 20
	MaxLease      = time.Hour
)

// What may be wrong with a call; an error wraps one of them or is trouble with
// the place itself.
var (
	ErrNotFound = errors.New("there is no such record")
	ErrConflict = errors.New("the record is another version")
	ErrFenced   = errors.New("the lease is over")
	ErrHeld     = errors.New("somebody else holds the lease")
	ErrInvalid  = errors.New("no such key, value or time can be kept")
	ErrDamaged  = errors.New("the record is damaged")
)

// Version tells one state of a record from every other: each Put makes a greater
// one than any that the place has ever made. 0 is the version of a record that
// does not exist.
type Version uint64

// Record is a value under a key.
type Record struct {
	Key     string
	Value   []byte
	Version Version   // set by the place; Put does not look at it
	Expires time.Time // the record does not exist any more from then on; zero: it never expires
	Fence   Fence     // for Put only: the lease under which it is made; zero: none
}

// Fence is the right to put records that a lease gives. The zero value stands
// for no lease.
type Fence struct {
	Name  string
	Token uint64
}

// Records keeps what is no desired state: certificates, accounts, tokens. Several
// nodes may share one place. All methods may be called by any number of
// goroutines; they return ctx's error when it ends before they have done
// anything. What a method has returned is durable.
type Records interface {
	// Get returns a record, or ErrNotFound. The value is the caller's.
	Get(ctx context.Context, key string) (Record, error)

	// Put writes a record if its version is at, which is 0 for one that must not
	// exist, and returns the new version; else nothing is written and the error is
	// ErrConflict. With a fence, ErrFenced is returned if its lease has ended or was
	// taken by another. Readers see the old record or the new one, whole.
	Put(ctx context.Context, r Record, at Version) (Version, error)

	// List returns the records whose keys begin with prefix, in the order of their
	// keys. An error is of one record, or the last element. The sequence is not one
	// point in time.
	List(ctx context.Context, prefix string) iter.Seq2[Record, error]

	// Delete removes a record at a version, or returns ErrConflict; of one that does
	// not exist, ErrNotFound.
	Delete(ctx context.Context, key string, at Version) error

	// Lease takes a name for ttl, of at most MaxLease, or returns ErrHeld at once.
	// Whatever the clocks of nodes say, what was put under an earlier lease of the
	// name is refused from then on.
	Lease(ctx context.Context, name string, ttl time.Duration) (Lease, error)
}

// Lease is a name that nobody else holds. Its methods may be called by any
// goroutine. After ErrFenced it is of no use any more.
type Lease interface {
	// Fence returns what records that are put under the lease carry.
	Fence() Fence
	// Renew makes the lease end ttl from now, or returns ErrFenced.
	Renew(ctx context.Context, ttl time.Duration) error
	// Release ends the lease. One that is over already is no error.
	Release(ctx context.Context) error
}
