package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// maxVaultFile bounds a file that a {vault://file/...} reference reads.
const maxVaultFile = 1 << 20

// vault resolves references of one Load. Every file is read once, so that all
// that refer to it see the same content.
type vault struct {
	from  Origin
	dir   string // where relative paths begin
	files map[string]vaultFile
}

type vaultFile struct {
	content string
	err     error
}

func newVault(from Origin) *vault {
	dir, err := filepath.Abs(filepath.Dir(from.Path))
	if err != nil {
		dir = filepath.Dir(from.Path)
	}
	return &vault{from: from, dir: dir, files: make(map[string]vaultFile)}
}

// list returns the paths of the files that were read, sorted.
func (v *vault) list() []string {
	return slices.Sorted(maps.Keys(v.files))
}

// resolve returns the value of {vault://env/...} or {vault://file/...}.
func (v *vault) resolve(ref string) (string, error) {
	inner := strings.TrimSuffix(strings.TrimPrefix(ref, "{vault://"), "}")
	name, rest, _ := strings.Cut(inner, "/")
	switch name {
	case "env":
		return v.env(rest)
	case "file":
		return v.file(rest)
	}
	return "", &schema.Problem{
		Reason: fmt.Sprintf("vault %q is %s", name, schema.ReasonUnserved),
	}
}

// env reads an environment variable, and one key of it if it holds JSON.
func (v *vault) env(rest string) (string, error) {
	name, key, hasKey := strings.Cut(rest, "/")
	if name == "" || strings.ContainsAny(rest, "?#") {
		return "", errors.New("invalid reference: expected {vault://env/name} or {vault://env/name/key}")
	}
	name = strings.ReplaceAll(strings.ToUpper(name), "-", "_")
	val, ok := v.from.LookupEnv(name)
	if !ok {
		return "", fmt.Errorf("environment variable %q is not set; set it before the edge is started", name)
	}
	if !hasKey {
		return val, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(val), &fields); err != nil {
		return "", fmt.Errorf("environment variable %q does not hold a JSON object", name)
	}
	raw, ok := fields[key]
	if !ok {
		return "", fmt.Errorf("the JSON object in environment variable %q has no key %q", name, key)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err == nil && string(raw) != "null" {
		return s, nil
	}
	if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return string(raw), nil
	}
	return "", fmt.Errorf("key %q of the JSON object in environment variable %q is not a string", key, name)
}

// file reads a file; everything after file/ is its path. One final newline is
// dropped, because editors add it.
func (v *vault) file(path string) (string, error) {
	if path == "" {
		return "", errors.New("invalid reference: expected {vault://file/path}")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(v.dir, path)
	}
	path = filepath.Clean(path)
	f, ok := v.files[path]
	if !ok {
		f = v.read(path)
		v.files[path] = f
	}
	return f.content, f.err
}

func (v *vault) read(path string) vaultFile {
	b, err := v.from.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return vaultFile{err: fmt.Errorf("file %q does not exist; create it or correct the path", path)}
	case errors.Is(err, fs.ErrPermission):
		return vaultFile{err: fmt.Errorf("file %q may not be read by this user; change its owner or mode", path)}
	case err != nil:
		return vaultFile{err: fmt.Errorf("reading file %q: %w", path, err)}
	case len(b) > maxVaultFile:
		return vaultFile{err: fmt.Errorf("file %q has %d bytes, and at most %d are read", path, len(b), maxVaultFile)}
	}
	return vaultFile{content: strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")}
}
