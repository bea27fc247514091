package rules

import (
	"bytes"
	"io"
	"io/fs"
	"path"
)

// withAttributes is a Core Rule Set whose rules look at attributes of XML beside
// its text, as those of 4.28 do (GHSA-6jp8-c2w2-x7wr): in earlier ones attributes
// pass unseen.
type withAttributes struct{ fs.FS }

// The targets of rules, and what becomes of them.
var (
	xmlText       = []byte("|XML:/*")
	xmlAttributes = []byte("|XML://@*")
	xmlAll        = append(xmlText[:len(xmlText):len(xmlText)], xmlAttributes...)
)

// Open opens a file; one of rules is read whole.
func (w withAttributes) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil || path.Ext(name) != ".conf" {
		return f, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text = bytes.ReplaceAll(text, xmlAll, xmlText) // of rules that do look at both
	text = bytes.ReplaceAll(text, xmlText, xmlAll)
	return &edited{Reader: bytes.NewReader(text), FileInfo: info, size: int64(len(text))}, nil
}

// edited is a file with other content.
type edited struct {
	*bytes.Reader
	fs.FileInfo
	size int64
}

// Stat describes the file.
func (e *edited) Stat() (fs.FileInfo, error) { return e, nil }

// Size is that of the content, in bytes.
func (e *edited) Size() int64 { return e.size }

// Close does nothing.
func (e *edited) Close() error { return nil }
