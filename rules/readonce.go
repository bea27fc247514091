package rules

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// maxExternalBytes bounds the files of an external directory, all together. It is
// above what a rule text may have, so that a text of that size is still told so.
const maxExternalBytes = 80 << 20

// readOnce reads each file and folder of another file system once, when it is first
// asked for: whoever reads it later sees the same, whatever has become of it. Safe
// for concurrent use.
type readOnce struct {
	fsys fs.FS

	mu    sync.Mutex
	known map[string]*entry
	bytes int
}

// entry is what was read of a name. It never changes.
type entry struct {
	info    fs.FileInfo
	content []byte        // of a file
	list    []fs.DirEntry // of a folder
	err     error
}

// Open returns the file or folder as it was first read.
func (r *readOnce) Open(name string) (fs.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.known[name]
	if e == nil {
		e = r.read(name)
		if r.known == nil {
			r.known = make(map[string]*entry)
		}
		r.known[name] = e
	}
	if e.err != nil {
		return nil, e.err
	}
	if e.info.IsDir() {
		return &openFolder{entry: e}, nil
	}
	return &openFile{entry: e, Reader: *bytes.NewReader(e.content)}, nil
}

func (r *readOnce) read(name string) *entry {
	f, err := r.fsys.Open(name)
	if err != nil {
		return &entry{err: err}
	}
	defer f.Close()
	e := &entry{}
	if e.info, e.err = f.Stat(); e.err != nil {
		return e
	}
	if d, ok := f.(fs.ReadDirFile); ok && e.info.IsDir() {
		e.list, e.err = d.ReadDir(-1)
		return e
	}
	left := maxExternalBytes - r.bytes
	e.content, e.err = io.ReadAll(io.LimitReader(f, int64(left)+1))
	if r.bytes += len(e.content); e.err == nil && len(e.content) > left {
		e.content, e.err = nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("the files of the directory have more than %d bytes", maxExternalBytes)}
	}
	return e
}

// openFile is an open file of a readOnce.
type openFile struct {
	*entry
	bytes.Reader
}

// Stat tells of the file as it was when it was read.
func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close does nothing: the file itself has been closed.
func (f *openFile) Close() error { return nil }

// openFolder is an open folder of a readOnce.
type openFolder struct {
	*entry
	at int
}

var _ fs.ReadDirFile = (*openFolder)(nil)

// Stat tells of the folder as it was when it was read.
func (f *openFolder) Stat() (fs.FileInfo, error) { return f.info, nil }

// Read fails, as that of any folder does.
func (f *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.Name(), Err: fs.ErrInvalid}
}

// ReadDir lists what was in the folder.
func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := f.list[f.at:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	f.at += len(rest)
	return append([]fs.DirEntry(nil), rest...), nil
}

// Close does nothing: the folder itself has been closed.
func (f *openFolder) Close() error { return nil }
