// Package storetest holds every place that keeps records against what package
// store says of them.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/store"
)

// patience bounds what must happen soon.
const patience = 20 * time.Second

// Records runs the suite. open returns a new empty place, and every call of again
// opens the same place as another node would.
func Records(t *testing.T, open func(t *testing.T) (again func(t *testing.T) store.Records)) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func(t *testing.T) store.Records)
	}{
		{"what was put is there", testPut},
		{"versions only grow", testVersions},
		{"another version is a conflict", testConflict},
		{"what has expired does not exist", testExpires},
		{"lists", testList},
		{"odd keys", testKeys},
		{"what cannot be kept is refused", testInvalid},
		{"large values", testLarge},
		{"many at once", testConcurrent},
		{"a lease has one holder", testLease},
		{"a lease that is over fences", testFence},
		{"a context that is over", testContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func put(t *testing.T, r store.Records, key, value string, at store.Version) store.Version {
	t.Helper()
	v, err := r.Put(t.Context(), store.Record{Key: key, Value: []byte(value)}, at)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got the error %v, want %v", what, err, want)
	}
}

// keys lists the keys below a prefix.
func keys(t *testing.T, r store.Records, prefix string) []string {
	t.Helper()
	var all []string
	for rec, err := range r.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec.Key)
	}
	return all
}

func testPut(t *testing.T, open func(t *testing.T) store.Records) {
	a, b := open(t), open(t)
	_, err := a.Get(t.Context(), "k")
	wantError(t, "getting what is not there", err, store.ErrNotFound)
	v := put(t, a, "k", "one", 0)
	for _, r := range []store.Records{a, b, open(t)} {
		got, err := r.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(store.Record{Key: "k", Value: []byte("one"), Version: v}, got); diff != "" {
			t.Errorf("another record was put (-want +got):\n%s", diff)
		}
		got.Value[0] = 'X' // the value is ours
	}
	v = put(t, b, "k", "", v)
	if got, err := a.Get(t.Context(), "k"); err != nil || len(got.Value) != 0 || got.Version != v {
		t.Errorf("got %v, %v, want an empty value of version %d", got, err, v)
	}
	if err := a.Delete(t.Context(), "k", v); err != nil {
		t.Fatal(err)
	}
	_, err = b.Get(t.Context(), "k")
	wantError(t, "getting what was deleted", err, store.ErrNotFound)
	wantError(t, "deleting it again", b.Delete(t.Context(), "k", v), store.ErrNotFound)
}

func testVersions(t *testing.T, open func(t *testing.T) store.Records) {
	a, b := open(t), open(t)
	var last, at store.Version
	for i := range 5 {
		for _, r := range []store.Records{a, b} {
			at = put(t, r, "k", strconv.Itoa(i), at)
			other := put(t, r, "other "+strconv.FormatUint(uint64(at), 10), "", 0)
			if at <= last || other <= at {
				t.Fatalf("versions %d and %d came after %d", at, other, last)
			}
			last = other
		}
		if err := a.Delete(t.Context(), "k", at); err != nil {
			t.Fatal(err)
		}
		at = 0
	}
}

func testConflict(t *testing.T, open func(t *testing.T) store.Records) {
	a, b := open(t), open(t)
	one := put(t, a, "k", "one", 0)
	_, err := b.Put(t.Context(), store.Record{Key: "k"}, 0)
	wantError(t, "making what exists", err, store.ErrConflict)
	_, err = b.Put(t.Context(), store.Record{Key: "new"}, one)
	wantError(t, "changing what does not exist", err, store.ErrConflict)
	two := put(t, b, "k", "two", one)
	_, err = a.Put(t.Context(), store.Record{Key: "k"}, one)
	wantError(t, "changing an old version", err, store.ErrConflict)
	wantError(t, "deleting an old version", a.Delete(t.Context(), "k", one), store.ErrConflict)
	if err := a.Delete(t.Context(), "k", two); err != nil {
		t.Fatal(err)
	}
	put(t, a, "k", "three", 0)
	_, err = b.Put(t.Context(), store.Record{Key: "k"}, two)
	wantError(t, "changing what was made anew", err, store.ErrConflict)
	if got, err := b.Get(t.Context(), "k"); err != nil || string(got.Value) != "three" {
		t.Errorf("got %q, %v, want what the last one put", got.Value, err)
	}
}

func testExpires(t *testing.T, open func(t *testing.T) store.Records) {
	r := open(t)
	later := time.Now().Add(time.Hour)
	v, err := r.Put(t.Context(), store.Record{Key: "a/kept", Value: []byte("v"), Expires: later}, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Get(t.Context(), "a/kept")
	if err != nil || !got.Expires.Equal(later.Round(0)) || got.Version != v {
		t.Errorf("got %v, %v, want it to expire at %v", got, err, later)
	}
	old, err := r.Put(t.Context(), store.Record{Key: "a/gone", Expires: time.Now().Add(-time.Second)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Get(t.Context(), "a/gone")
	wantError(t, "getting what has expired", err, store.ErrNotFound)
	if diff := cmp.Diff([]string{"a/kept"}, keys(t, r, "a/")); diff != "" {
		t.Errorf("the list differs (-want +got):\n%s", diff)
	}
	wantError(t, "deleting what has expired", r.Delete(t.Context(), "a/gone", old), store.ErrNotFound)
	_, err = r.Put(t.Context(), store.Record{Key: "a/gone"}, old)
	wantError(t, "changing what has expired", err, store.ErrConflict)
	if again := put(t, r, "a/gone", "new", 0); again <= old {
		t.Errorf("the version %d came after %d", again, old)
	}
}

func testList(t *testing.T, open func(t *testing.T) store.Records) {
	r := open(t)
	for _, k := range []string{"b", "a/b/c", "a", "a/b", "ab/c", "a/z", "a/bb", "c/d/e/f"} {
		put(t, r, k, "value of "+k, 0)
	}
	for _, tt := range []struct {
		prefix string
		want   []string
	}{
		{"", []string{"a", "a/b", "a/b/c", "a/bb", "a/z", "ab/c", "b", "c/d/e/f"}},
		{"a", []string{"a", "a/b", "a/b/c", "a/bb", "a/z", "ab/c"}},
		{"a/", []string{"a/b", "a/b/c", "a/bb", "a/z"}},
		{"a/b", []string{"a/b", "a/b/c", "a/bb"}},
		{"a/b/", []string{"a/b/c"}},
		{"c/d/e", []string{"c/d/e/f"}},
		{"nothing/here", nil},
		{"z", nil},
	} {
		if diff := cmp.Diff(tt.want, keys(t, r, tt.prefix)); diff != "" {
			t.Errorf("%q: the list differs (-want +got):\n%s", tt.prefix, diff)
		}
	}
	for rec, err := range r.List(t.Context(), "a") {
		if err != nil || string(rec.Value) != "value of a" || rec.Version == 0 {
			t.Errorf("got %v, %v", rec, err)
		}
		break // an early end is allowed
	}
}

func testKeys(t *testing.T, open func(t *testing.T) store.Records) {
	r := open(t)
	long := strings.Repeat("x", 250)
	odd := []string{
		".", "..", "../../etc/passwd", ".hidden", "a.rec", "a", "a.rec/b", "A", "*.example.com", "%2E", "~", "-", "_",
		"bücher.example", "2001:db8::1", "with space", "back\\slash", `quote"s`, ".tmp-1", "name\u2028", long, long + "y",
		long + "/" + long, strings.Repeat("ü", 100), strings.Repeat("ü", 100) + "e", strings.Repeat("a/", 255) + "a",
	}
	for _, k := range odd {
		put(t, r, k, k, 0)
	}
	seen := make(map[string]bool)
	for rec, err := range r.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		seen[rec.Key] = true
		if string(rec.Value) != rec.Key {
			t.Errorf("%q has the value of %q", rec.Key, rec.Value)
		}
	}
	for _, k := range odd {
		got, err := r.Get(t.Context(), k)
		if err != nil || string(got.Value) != k || !seen[k] {
			t.Errorf("%q: got %q, %v, listed: %v", k, got.Value, err, seen[k])
		}
	}
	if len(seen) != len(odd) {
		t.Errorf("%d keys are listed, want %d", len(seen), len(odd))
	}
}

func testInvalid(t *testing.T, open func(t *testing.T) store.Records) {
	r := open(t)
	for _, k := range []string{"", "/", "a/", "/a", "a//b", "a\x00b", "a\nb", "a\x7f", "\xff", strings.Repeat("k", store.MaxKeyBytes+1)} {
		_, err := r.Get(t.Context(), k)
		wantError(t, "getting "+strconv.Quote(k), err, store.ErrInvalid)
		_, err = r.Put(t.Context(), store.Record{Key: k}, 0)
		wantError(t, "putting "+strconv.Quote(k), err, store.ErrInvalid)
		wantError(t, "deleting "+strconv.Quote(k), r.Delete(t.Context(), k, 1), store.ErrInvalid)
		_, err = r.Lease(t.Context(), k, time.Minute)
		wantError(t, "leasing "+strconv.Quote(k), err, store.ErrInvalid)
	}
	for _, ttl := range []time.Duration{0, -1, store.MaxLease + 1} {
		_, err := r.Lease(t.Context(), "name", ttl)
		wantError(t, "leasing for "+ttl.String(), err, store.ErrInvalid)
	}
	for _, at := range []time.Time{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC)} {
		// A place that can keep such a time keeps it; none makes another one of it.
		v, err := r.Put(t.Context(), store.Record{Key: "far", Expires: at}, 0)
		if err != nil {
			wantError(t, "keeping until "+at.String(), err, store.ErrInvalid)
			continue
		}
		if got, err := r.Get(t.Context(), "far"); at.Year() > 9000 && (err != nil || !got.Expires.Equal(at) || got.Version != v) {
			t.Errorf("got %v, %v, want it to expire at %v", got, err, at)
		}
	}
	l, err := r.Lease(t.Context(), "name", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "renewing for too long", l.Renew(t.Context(), store.MaxLease+1), store.ErrInvalid)
	_, err = r.Put(t.Context(), store.Record{Key: "k", Value: make([]byte, store.MaxValueBytes+1)}, 0)
	wantError(t, "putting too much", err, store.ErrInvalid)
}

func testLarge(t *testing.T, open func(t *testing.T) store.Records) {
	r := open(t)
	value := bytes.Repeat([]byte("0123456789abcde\n"), store.MaxValueBytes/16)
	if _, err := r.Put(t.Context(), store.Record{Key: "large", Value: value}, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Get(t.Context(), "large"); err != nil || !bytes.Equal(got.Value, value) {
		t.Errorf("got %d bytes, %v, want %d", len(got.Value), err, len(value))
	}
	const many = 200
	for i := range many {
		put(t, r, fmt.Sprintf("many/%03d", i), "v", 0)
	}
	if n := len(keys(t, r, "many/")); n != many {
		t.Errorf("%d records are listed, want %d", n, many)
	}
}

// testConcurrent counts up one record from many goroutines of several nodes: no
// step may be lost.
func testConcurrent(t *testing.T, open func(t *testing.T) store.Records) {
	const nodes, workers, steps = 3, 3, 10
	var all sync.WaitGroup
	for range nodes {
		r := open(t)
		for range workers {
			all.Go(func() {
				for range steps {
					if err := countUp(t.Context(), r); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	got, err := open(t).Get(t.Context(), "count")
	if want := strconv.Itoa(nodes * workers * steps); err != nil || string(got.Value) != want {
		t.Errorf("counted to %q, %v, want %s", got.Value, err, want)
	}
}

func countUp(ctx context.Context, r store.Records) error {
	for {
		rec, err := r.Get(ctx, "count")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(rec.Value)) // 0 at the start
		_, err = r.Put(ctx, store.Record{Key: "count", Value: strconv.AppendInt(nil, int64(n+1), 10)}, rec.Version)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func testLease(t *testing.T, open func(t *testing.T) store.Records) {
	a, b := open(t), open(t)
	l, err := a.Lease(t.Context(), "name", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []store.Records{a, b} {
		_, err := r.Lease(t.Context(), "name", time.Minute)
		wantError(t, "leasing what is leased", err, store.ErrHeld)
	}
	other, err := b.Lease(t.Context(), "other", time.Minute)
	if err != nil || other.Fence().Token <= l.Fence().Token {
		t.Fatalf("leasing another name: %v", err)
	}
	if err := l.Renew(t.Context(), 2*time.Minute); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	next, err := b.Lease(t.Context(), "name", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil { // not the next one's
		t.Error(err)
	}
	_, err = a.Lease(t.Context(), "name", time.Minute)
	wantError(t, "leasing what the next one holds", err, store.ErrHeld)
	if next.Fence().Token <= other.Fence().Token {
		t.Errorf("the token %d came after %d", next.Fence().Token, other.Fence().Token)
	}
}

func testFence(t *testing.T, open func(t *testing.T) store.Records) {
	a, b := open(t), open(t)
	first, err := a.Lease(t.Context(), "name", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	under := func(l store.Lease) store.Record { return store.Record{Key: "k", Fence: l.Fence()} }
	v, err := a.Put(t.Context(), under(first), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.Get(t.Context(), "k"); err != nil || got.Fence != (store.Fence{}) {
		t.Errorf("got %v, %v: the fence is no part of a record", got, err)
	}
	// Its holder stops, and its time passes: a paused process must find out.
	if err := first.Renew(t.Context(), time.Nanosecond); err != nil {
		t.Fatal(err)
	}
	_, err = a.Put(t.Context(), under(first), v)
	wantError(t, "putting when its time is over", err, store.ErrFenced)
	second := await(t, b, "name")
	for what, l := range map[string]store.Lease{"the old one": first} {
		_, err = a.Put(t.Context(), under(l), v)
		wantError(t, "putting under "+what, err, store.ErrFenced)
		wantError(t, "renewing "+what, l.Renew(t.Context(), time.Minute), store.ErrFenced)
	}
	v, err = b.Put(t.Context(), under(second), v)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = b.Put(t.Context(), under(second), v)
	wantError(t, "putting after the release", err, store.ErrFenced)
	for _, f := range []store.Fence{{Name: "name", Token: 1 << 60}, {Name: "never", Token: 1}, {Name: "/", Token: 1}, {Token: 1}} {
		_, err := b.Put(t.Context(), store.Record{Key: "k", Fence: f}, v)
		wantError(t, fmt.Sprintf("putting under %v", f), err, store.ErrFenced)
	}
	put(t, a, "k", "without a lease", v)
}

// await takes a lease as soon as the one before is over.
func await(t *testing.T, r store.Records, name string) store.Lease {
	t.Helper()
	for until := time.Now().Add(patience); ; {
		l, err := r.Lease(t.Context(), name, time.Minute)
		if err == nil {
			return l
		}
		if !errors.Is(err, store.ErrHeld) || time.Now().After(until) {
			t.Fatal(err)
		}
	}
}

func testContext(t *testing.T, open func(t *testing.T) store.Records) {
	r := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Get(ctx, "k")
	wantError(t, "getting", err, context.Canceled)
	_, err = r.Put(ctx, store.Record{Key: "k"}, 0)
	wantError(t, "putting", err, context.Canceled)
	_, err = r.Lease(ctx, "k", time.Minute)
	wantError(t, "leasing", err, context.Canceled)
	wantError(t, "deleting", r.Delete(ctx, "k", 1), context.Canceled)
	put(t, r, "k", "v", 0)
	for _, err := range r.List(ctx, "") {
		wantError(t, "listing", err, context.Canceled)
	}
}
