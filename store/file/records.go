package file

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/store"
)

// lockRest and lockRestMost are how long the lock of a directory that another
// process holds is left alone between two tries, from the first on.
const (
	lockRest     = time.Millisecond
	lockRestMost = 20 * time.Millisecond
)

// sweepInterval is how often a process that writes looks for records that have
// expired, to remove them.
const sweepInterval = 10 * time.Minute

// sweepWait is how long who opens records waits for the lock to do so.
const sweepWait = 100 * time.Millisecond

// Folders and files of a directory of records.
const (
	recordFolder = "records"
	leaseFolder  = "leases"
	lockFile     = "lock"
	lastFile     = "last" // the greatest version or token that was ever given
)

// Records is a directory that keeps a file for each record. Several processes
// may use one directory: whoever writes holds a lock on a file in it, which the
// kernel takes from a process that dies. A record is written beside its place and
// moved there, so that readers, who take no lock, never see a part of it.
// Directories have mode 0700 and files 0600; what is in them is as secret as the
// keys it holds. Safe for concurrent use.
type Records struct {
	dir  string
	turn chan struct{} // holds one element while a goroutine of this process writes

	swept time.Time // with turn
}

var _ store.Records = (*Records)(nil)

// OpenRecords opens the records in a directory, which is made if it does not
// exist.
func OpenRecords(dir string) (*Records, error) {
	r := &Records{dir: dir, turn: make(chan struct{}, 1)}
	for _, d := range [...]string{dir, r.path(recordFolder), r.path(leaseFolder)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("making a directory for records: %w", err)
		}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("looking at the directory for records: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("opening records in %q: its mode is %#o: it holds private keys; make it 0700", dir, info.Mode().Perm())
	}
	r.sweepFirst()
	return r, nil
}

// sweepFirst sweeps a directory that was used before: nothing may be put for long. What
// others are busy in is swept by the next who puts something.
func (r *Records) sweepFirst() {
	if _, err := os.Stat(r.path(lockFile)); err != nil {
		return // it is new, or not ours to write in
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepWait)
	defer cancel()
	if unlock, err := r.lock(ctx); err == nil {
		r.sweep(time.Now())
		unlock()
	}
}

func (r *Records) path(parts ...string) string {
	return filepath.Join(append([]string{r.dir}, parts...)...)
}

// Get returns a record.
func (r *Records) Get(ctx context.Context, key string) (store.Record, error) {
	if err := checkKey(key); err != nil {
		return store.Record{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	return r.read(recordFolder, key, time.Now())
}

// Put writes a record.
func (r *Records) Put(ctx context.Context, rec store.Record, at store.Version) (store.Version, error) {
	if err := checkKey(rec.Key); err != nil {
		return 0, err
	}
	if len(rec.Value) > store.MaxValueBytes {
		return 0, fmt.Errorf("putting %q: its value has %d bytes, more than %d: %w", rec.Key, len(rec.Value), store.MaxValueBytes, store.ErrInvalid)
	}
	if err := checkExpires(rec.Expires); err != nil {
		return 0, fmt.Errorf("putting %q: %w", rec.Key, err)
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	now := time.Now()
	if err := r.checkFence(rec.Fence, now); err != nil {
		return 0, fmt.Errorf("putting %q: %w", rec.Key, err)
	}
	if err := r.checkVersion(rec.Key, at, now); err != nil {
		return 0, fmt.Errorf("putting %q: %w", rec.Key, err)
	}
	r.sweep(now)
	next, err := r.next()
	if err != nil {
		return 0, fmt.Errorf("putting %q: %w", rec.Key, err)
	}
	rec.Version = store.Version(next)
	if err := r.write(recordFolder, rec); err != nil {
		return 0, fmt.Errorf("putting %q: %w", rec.Key, err)
	}
	return rec.Version, nil
}

// checkVersion compares what is there with what the caller knows of. A record
// that is damaged can be replaced or removed by whoever says it does not exist.
func (r *Records) checkVersion(key string, at store.Version, now time.Time) error {
	old, err := r.read(recordFolder, key, now)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
		return err
	}
	if old.Version != at {
		return fmt.Errorf("it has the version %d, not %d: %w", old.Version, at, store.ErrConflict)
	}
	return nil
}

// Delete removes a record.
func (r *Records) Delete(ctx context.Context, key string, at store.Version) error {
	if err := checkKey(key); err != nil {
		return err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	now := time.Now()
	if _, err := r.read(recordFolder, key, now); errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := r.checkVersion(key, at, now); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	if err := r.remove(recordFolder, key); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	return nil
}

// List returns the records of a prefix. All their keys are found before the first
// is returned; a record that is gone by then is left out.
func (r *Records) List(ctx context.Context, prefix string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		found, err := r.find(ctx, prefix)
		if err != nil {
			yield(store.Record{}, fmt.Errorf("listing %q: %w", prefix, err))
			return
		}
		now := time.Now()
		for _, f := range found {
			rec, err := readRecord(f.path, now)
			switch {
			case errors.Is(err, store.ErrNotFound):
				continue
			case err != nil:
				err = fmt.Errorf("listing %q: %w", prefix, err)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// place is a file and the key of its record.
type place struct{ key, path string }

// find returns the files of the records with a prefix, by the order of the keys.
func (r *Records) find(ctx context.Context, prefix string) ([]place, error) {
	top := r.path(recordFolder)
	if i := strings.LastIndexByte(prefix, '/'); i > 0 && checkKey(prefix[:i]) == nil {
		top = filepath.Join(top, folderOf(prefix[:i]))
	}
	var found []place
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile, or there never was such a folder
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() || !strings.HasSuffix(path, recordSuffix):
			return nil
		}
		key, err := readKey(path)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			found = append(found, place{path: path}) // it is told when it is read
		case strings.HasPrefix(key, prefix):
			found = append(found, place{key, path})
		}
		return nil
	})
	slices.SortFunc(found, func(a, b place) int { return strings.Compare(a.key, b.key) })
	return found, err
}

// sweep removes what has expired, now and then. What cannot be removed is found
// again the next time.
func (r *Records) sweep(now time.Time) {
	if now.Sub(r.swept) < sweepInterval {
		return
	}
	r.swept = now
	for _, folder := range [...]string{recordFolder, leaseFolder} {
		_ = filepath.WalkDir(r.path(folder), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || d.IsDir():
			case strings.HasPrefix(d.Name(), tempPrefix):
				_ = os.Remove(path) // of a process that died: we hold the lock
			case strings.HasSuffix(path, recordSuffix):
				if _, err := readRecord(path, now); errors.Is(err, store.ErrNotFound) {
					_ = os.Remove(path)
				}
			}
			return nil
		})
	}
}

// lock keeps all others who write out, until unlock is called.
func (r *Records) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f, err := r.flock(ctx)
	if err != nil {
		<-r.turn
		return nil, fmt.Errorf("locking records: %w", err)
	}
	return func() {
		f.Close() // which unlocks
		<-r.turn
	}, nil
}

func (r *Records) flock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(r.path(lockFile), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for rest := lockRest; ; rest = min(2*rest, lockRestMost) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case err == unix.EINTR:
			continue
		case err != unix.EWOULDBLOCK:
			f.Close()
			return nil, err
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			f.Close()
			return nil, ctx.Err()
		}
	}
}

// checkKey holds a key against what store says of keys.
func checkKey(key string) error {
	bad := len(key) > store.MaxKeyBytes || !utf8.ValidString(key) ||
		slices.Contains(strings.Split(key, "/"), "") ||
		strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f })
	if bad {
		return fmt.Errorf("using the key %q: %w", key, store.ErrInvalid)
	}
	return nil
}

// holder returns a name for who takes a lease, for whoever reads the files.
func holder() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s %d %s", host, os.Getpid(), hex.EncodeToString(id[:]))
}
