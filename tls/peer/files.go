package peer

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// maxFiles bounds the files of revocation lists that are in use.
const maxFiles = 1024

// crlSource is a configured revocation list. Verifiers that name the same file
// share one.
type crlSource struct {
	file  string // "" of an inline one
	lists atomic.Pointer[[]*crl]

	mu      sync.Mutex
	read    fileState
	failed  bool                // the last time
	issuers []*x509.Certificate // the listed CAs, by which a new file is judged
}

// fileState is by what a changed file is noticed.
type fileState struct {
	size     int64
	modified time.Time
	info     os.FileInfo
}

func (s fileState) same(t fileState) bool {
	return s.size == t.size && s.modified.Equal(t.modified) && os.SameFile(s.info, t.info)
}

// of returns the lists in the issuer's name.
func (s *crlSource) of(issuer *x509.Certificate) []*crl {
	var found []*crl
	for _, c := range *s.lists.Load() {
		if bytes.Equal(c.issuer, issuer.RawSubject) {
			found = append(found, c)
		}
	}
	return found
}

// source returns the source of a configured list, read and held against the
// listed CAs.
func (r *Revocation) source(c CRL, listed []*x509.Certificate) (*crlSource, error) {
	if (c.File == "") == (len(c.Inline) == 0) {
		return nil, errors.New("want either a file or a list itself")
	}
	if c.File == "" {
		s := &crlSource{issuers: listed}
		return s, s.take(c.Inline)
	}
	r.filesMu.Lock()
	defer r.filesMu.Unlock()
	if s := r.files[c.File].Value(); s != nil {
		// If it has changed it is read now: no configuration starts with a file
		// that cannot be read.
		s.mu.Lock()
		defer s.mu.Unlock()
		s.addIssuers(listed)
		changed, err := s.load()
		if changed {
			r.change()
		}
		if err == nil {
			err = signedByListed(*s.lists.Load(), listed)
		}
		return s, err
	}
	if len(r.files) >= maxFiles {
		return nil, fmt.Errorf("over %d files of revocation lists", maxFiles)
	}
	s := &crlSource{file: c.File, issuers: listed}
	if _, err := s.load(); err != nil {
		return nil, err
	}
	r.files[c.File] = weak.Make(s)
	return s, nil
}

func (s *crlSource) addIssuers(list []*x509.Certificate) {
	s.issuers = slices.Clone(s.issuers)
	for _, c := range list {
		if !slices.ContainsFunc(s.issuers, c.Equal) && len(s.issuers) < maxRoots {
			s.issuers = append(s.issuers, c)
		}
	}
}

// load reads the file if it is another than was read last. On an error the lists
// stay as they were.
func (s *crlSource) load() (changed bool, err error) {
	f, err := os.Open(s.file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	state := fileState{info.Size(), info.ModTime(), info}
	if s.read.info != nil && state.same(s.read) {
		return false, nil
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%q is no regular file", s.file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxCRLBytes+1))
	if err != nil {
		return false, fmt.Errorf("reading %q: %w", s.file, err)
	}
	if err := s.take(b); err != nil {
		return false, fmt.Errorf("reading %q: %w", s.file, err)
	}
	s.read = state
	return true, nil
}

// take parses lists and puts them in place of the former ones.
func (s *crlSource) take(b []byte) error {
	lists, err := parseCRLs(b)
	if err != nil {
		return err
	}
	if err := signedByListed(lists, s.issuers); err != nil {
		return err
	}
	s.lists.Store(&lists)
	return nil
}

// signedByListed refuses a list in the name of listed CAs of which none has
// signed it. Those in other names are judged when their issuer is met.
func signedByListed(lists []*crl, listed []*x509.Certificate) error {
	for _, c := range lists {
		named, signed := false, false
		for _, ca := range listed {
			if bytes.Equal(ca.RawSubject, c.issuer) {
				named = true
				signed = signed || c.signedBy(ca)
			}
		}
		if named && !signed {
			return &Fault{Forged, errForged}
		}
	}
	return nil
}

// refreshFiles reads files again that have changed, and forgets those that no
// verifier names any more.
func (r *Revocation) refreshFiles() {
	r.filesMu.Lock()
	sources := make([]*crlSource, 0, len(r.files))
	for name, p := range r.files {
		if s := p.Value(); s != nil {
			sources = append(sources, s)
		} else {
			delete(r.files, name)
		}
	}
	r.filesMu.Unlock()
	for _, s := range sources {
		s.mu.Lock()
		changed, err := s.load()
		failing := err != nil && !s.failed
		s.failed = err != nil
		s.mu.Unlock()
		if changed {
			r.change()
			r.log.Info("read a file of revocation lists again", "file", s.file)
		}
		if err != nil {
			r.counts.fileErrors.Inc()
		}
		if failing {
			r.log.Warn("cannot read a file of revocation lists again; what it said last counts on", "file", s.file, "error", err)
		}
	}
}
