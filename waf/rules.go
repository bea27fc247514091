package waf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Bounds of a rule text.
const (
	maxRuleFiles   = 2000     // files that it includes, data files among them
	maxRuleBytes   = 64 << 20 // all of them together
	maxIncludeDeep = 16       // files that include files
)

// Rules is a rule text with every file that it includes, SecLang and data
// files. It never changes; files that change later are another Rules.
type Rules struct {
	hash       string
	dataHash   string // of the data files alone
	files      memory
	directives []directive // of all files, in the order in which they count
	switches   []fault     // what would switch the WAF off, found in the text
}

// NewRules reads directives, a text in SecLang, and all files that it includes
// from fsys, once. The error tells file, line and reason of everything that is
// wrong with how the files hang together; what the rules themselves say wrong
// is found by Engines.Open.
func NewRules(fsys fs.FS, directives string) (*Rules, error) {
	l := &loader{fsys: fsys, files: memory{}, dataFiles: memory{}}
	l.text(inlineName, []byte(directives), 0)
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	r := &Rules{files: l.files, directives: l.directives}
	r.hash, r.dataHash = hashOf(directives, l.files), hashOf("", l.dataFiles)
	l.files[inlineName] = []byte(directives)
	r.switches = findSwitches(r.directives)
	return r, nil
}

// Hash is a digest of the text and the contents of all files, in hex.
func (r *Rules) Hash() string { return r.hash }

// hashOf digests a text and files so that no two sets of them run together.
func hashOf(directives string, files memory) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s", len(directives), directives)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%d %s\n%d\n", len(name), name, len(files[name]))
		h.Write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// loader reads a rule text and what it includes.
type loader struct {
	fsys       fs.FS
	files      memory
	dataFiles  memory // those of them that operators read
	bytes      int
	directives []directive
	errs       []error
}

// text takes the directives of a file in, and those of the files it includes
// where it includes them.
func (l *loader) text(name string, content []byte, depth int) {
	found, err := scan(name, content)
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	for _, d := range found {
		if !strings.EqualFold(d.name, "Include") {
			l.directives = append(l.directives, d)
			for _, data := range d.dataFiles() {
				l.data(d, data)
			}
			continue
		}
		if depth >= maxIncludeDeep {
			l.fail(d, fmt.Errorf("files include files more than %d deep", maxIncludeDeep))
			return
		}
		l.include(d, depth)
	}
}

// include reads what an Include names: a file relative to the one it stands in,
// or a pattern from the root.
func (l *loader) include(d directive, depth int) {
	names := []string{resolve(d.file, d.args)}
	if strings.Contains(d.args, "*") {
		var err error
		if names, err = fs.Glob(l.fsys, d.args); err != nil {
			l.fail(d, err)
			return
		}
	}
	for _, name := range names {
		content, err := l.read(name)
		if err != nil {
			l.fail(d, err)
			continue
		}
		l.text(name, content, depth+1)
	}
}

// data reads a data file of an operator, which stands beside the rule's file.
func (l *loader) data(d directive, name string) {
	name = resolve(d.file, name)
	content, err := l.read(name)
	if err != nil {
		l.fail(d, err)
		return
	}
	l.dataFiles[name] = content
}

// read returns a file's content, which is read once however often it is used.
func (l *loader) read(name string) ([]byte, error) {
	if content, ok := l.files[name]; ok {
		return content, nil
	}
	if path.IsAbs(name) {
		return nil, fmt.Errorf("reading %q: a path must stand within the directory of the rules", name)
	}
	if len(l.files) >= maxRuleFiles {
		return nil, fmt.Errorf("reading %q: more than %d files", name, maxRuleFiles)
	}
	f, err := l.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, reason(err))
	}
	defer f.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(&boundedReader{f, maxRuleBytes - l.bytes}); err != nil {
		return nil, fmt.Errorf("reading %q: %w", name, reason(err))
	}
	l.bytes += buf.Len()
	l.files[name] = buf.Bytes()
	return buf.Bytes(), nil
}

func (l *loader) fail(d directive, err error) {
	l.errs = append(l.errs, fmt.Errorf("%s: %w", d.place(), err))
}

// resolve returns the path of a file that is named in another one.
func resolve(from, name string) string {
	name = strings.TrimSpace(strings.Trim(strings.TrimSpace(name), `"`))
	if path.IsAbs(name) || from == inlineName {
		return name
	}
	return path.Join(path.Dir(from), name)
}

// reason is the cause of an error of a file without the path, which stands
// before it already.
func reason(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

var errTooManyBytes = fmt.Errorf("the rules have more than %d bytes", maxRuleBytes)

// boundedReader fails instead of giving more than left bytes.
type boundedReader struct {
	fs.File
	left int
}

func (r *boundedReader) Read(p []byte) (int, error) {
	n, err := r.File.Read(p)
	if r.left -= n; r.left < 0 {
		return 0, errTooManyBytes
	}
	return n, err
}
