package waf

import (
	"bytes"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// memory is the files of a rule text as they were read.
type memory map[string][]byte

// mounted is the file system that an engine is compiled from: what it compiles
// is what was hashed. All names stand below a folder that is another one when a
// file is: Coraza knows compiled data files by their paths alone, and would take
// an old one for the new.
type mounted struct {
	folder string // with a slash at its end
	files  memory
}

func (m mounted) Open(name string) (fs.File, error) {
	content, ok := m.files[strings.TrimPrefix(name, m.folder)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memoryFile{Reader: *bytes.NewReader(content), name: name}, nil
}

// Glob returns the names that match, sorted. The pattern stands without the
// folder, as it is written in the rules.
func (m mounted) Glob(pattern string) ([]string, error) {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(m.files)) {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, m.folder+name)
		}
	}
	return found, nil
}

type memoryFile struct {
	bytes.Reader
	name string
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *memoryFile) Close() error               { return nil }
func (f *memoryFile) Name() string               { return path.Base(f.name) }
func (f *memoryFile) Mode() fs.FileMode          { return 0o400 }
func (f *memoryFile) ModTime() time.Time         { return time.Time{} }
func (f *memoryFile) IsDir() bool                { return false }
func (f *memoryFile) Sys() any                   { return nil }
