package waf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names of directories for temporary files, and of the file in each of them
// that its process holds a lock on.
const (
	tempPattern = "bulwark-waf-*"
	tempUnready = "bulwark-new-*" // until it is locked, so that no other start takes it for a leftover
	tempLock    = "lock"

	// tempUnreadyTime is how old a directory without a lock is that nobody is about
	// to lock any more: between the two there are a few system calls.
	tempUnreadyTime = time.Hour
)

// tempDir is a directory that only this process uses: Coraza writes parts of
// multipart bodies to files there, and removes them with the transaction.
type tempDir struct {
	path string
	lock *os.File
}

// newTempDir makes the directory, readable by nobody else, and removes those
// that processes have left behind which are no more.
func newTempDir() (*tempDir, error) {
	sweep(os.TempDir())
	unready, err := os.MkdirTemp("", tempUnready)
	if err != nil {
		return nil, fmt.Errorf("making a directory for the WAF's temporary files: %w", err)
	}
	t, err := lockTempDir(unready)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the directory of the WAF's temporary files: %w", err), os.RemoveAll(unready))
	}
	return t, nil
}

// lockTempDir locks a new directory and gives it the name that sweep looks for.
func lockTempDir(unready string) (*tempDir, error) {
	lock, err := os.OpenFile(filepath.Join(unready, tempLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	parent, name := filepath.Split(unready)
	path := filepath.Join(parent, strings.Replace(tempPattern, "*", strings.TrimPrefix(name, strings.TrimSuffix(tempUnready, "*")), 1))
	if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		if err = os.Rename(unready, path); err == nil {
			return &tempDir{path: path, lock: lock}, nil
		}
	}
	return nil, errors.Join(err, lock.Close())
}

// remove removes the directory with all that is in it.
func (t *tempDir) remove() error {
	return errors.Join(os.RemoveAll(t.path), t.lock.Close())
}

// sweep removes directories below parent that no process has locked, and those
// whose process ended before it could. Those of other users cannot be opened or
// removed, and stay.
func sweep(parent string) {
	unready, _ := filepath.Glob(filepath.Join(parent, tempUnready)) // the pattern is ours
	for _, path := range unready {
		if info, err := os.Lstat(path); err == nil && info.IsDir() && time.Since(info.ModTime()) > tempUnreadyTime {
			_ = os.RemoveAll(path)
		}
	}
	left, _ := filepath.Glob(filepath.Join(parent, tempPattern))
	for _, path := range left {
		lock, err := os.OpenFile(filepath.Join(path, tempLock), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(path) // what cannot be removed is tried again by the next start
		}
		lock.Close()
	}
}
