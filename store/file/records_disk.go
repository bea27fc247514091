package file

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// Names of files. A part of a key that would be too long is cut, and ends in a
// hash of the whole.
const (
	recordSuffix = ".rec"
	tempPrefix   = ".tmp-"
	maxPart      = 200 // bytes of a file's name, of the 255 that file systems take
	cutPart      = 120
)

// maxHeader bounds the first line of a file. A key's bytes may be escaped to six
// each.
const maxHeader = 6*store.MaxKeyBytes + 512

// header is the first line of a record's file; the value follows it.
type header struct {
	Key     string        `json:"key"`
	Version store.Version `json:"version"`
	Expires int64         `json:"expires,omitempty"` // in nanoseconds since 1970
	Bytes   int           `json:"bytes"`             // of the value
	Sum     uint32        `json:"sum"`               // CRC-32 of the value
}

// folderOf returns the folder for the keys below a key, and with recordSuffix the
// file of the key itself.
func folderOf(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = escape(p)
	}
	return filepath.Join(parts...)
}

// escape writes a part of a key so that it is a file's name, and no other part's.
// Upper-case letters are escaped as well, for file systems that ignore case.
func escape(part string) string {
	const plain = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	var b strings.Builder
	for i := range len(part) {
		c := part[i]
		if strings.IndexByte(plain, c) >= 0 || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	name := b.String()
	if len(name) <= maxPart && !strings.HasSuffix(name, recordSuffix) {
		return name
	}
	sum := sha256.Sum256([]byte(part))
	return name[:min(cutPart, len(name))] + "~" + hex.EncodeToString(sum[:16])
}

func (r *Records) file(folder, key string) string {
	return r.path(folder, folderOf(key)+recordSuffix)
}

func (r *Records) read(folder, key string, now time.Time) (store.Record, error) {
	rec, err := readRecord(r.file(folder, key), now)
	if err == nil && rec.Key != key {
		err = fmt.Errorf("it is of %q: %w", rec.Key, store.ErrDamaged)
	}
	if err != nil {
		return store.Record{}, fmt.Errorf("reading %q: %w", key, err)
	}
	return rec, nil
}

// readRecord returns what a file holds, ErrNotFound for what has expired.
func readRecord(path string, now time.Time) (store.Record, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return store.Record{}, store.ErrNotFound
	}
	if err != nil {
		return store.Record{}, err
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxHeader+store.MaxValueBytes+1))
	if err != nil {
		return store.Record{}, err
	}
	rec, err := parseRecord(body)
	if err != nil {
		return store.Record{}, fmt.Errorf("reading the file %q: %w", path, err)
	}
	if !rec.Expires.IsZero() && !now.Before(rec.Expires) {
		return store.Record{}, store.ErrNotFound
	}
	return rec, nil
}

// readKey returns the key of a file's record without reading its value.
func readKey(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", store.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(io.LimitReader(f, maxHeader), 512).ReadBytes('\n')
	if err != nil {
		return "", store.ErrDamaged
	}
	h, err := parseHeader(line)
	return h.Key, err
}

func parseHeader(line []byte) (header, error) {
	var h header
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil || d.InputOffset() != int64(len(bytes.TrimRight(line, "\n"))) {
		return header{}, fmt.Errorf("its first line is none of ours: %w", store.ErrDamaged)
	}
	if checkKey(h.Key) != nil || h.Version == 0 || h.Bytes < 0 {
		return header{}, fmt.Errorf("its first line cannot be right: %w", store.ErrDamaged)
	}
	return h, nil
}

// parseRecord parses a record's file. What is not exactly as appendRecord makes
// it is refused.
func parseRecord(body []byte) (store.Record, error) {
	line, value, ok := bytes.Cut(body, []byte("\n"))
	if !ok || len(line) > maxHeader {
		return store.Record{}, fmt.Errorf("it has no first line: %w", store.ErrDamaged)
	}
	h, err := parseHeader(line)
	if err != nil {
		return store.Record{}, err
	}
	if len(value) != h.Bytes || len(value) > store.MaxValueBytes || crc32.ChecksumIEEE(value) != h.Sum {
		return store.Record{}, fmt.Errorf("its value is not what was written: %w", store.ErrDamaged)
	}
	rec := store.Record{Key: h.Key, Version: h.Version, Value: value}
	if h.Expires != 0 {
		rec.Expires = time.Unix(0, h.Expires)
	}
	return rec, nil
}

// checkExpires refuses times that a header cannot hold: those from 1677 to 2262 can
// be, but for 1970 itself, which stands for none.
func checkExpires(t time.Time) error {
	if n := t.UnixNano(); !t.IsZero() && (n == 0 || !time.Unix(0, n).Equal(t)) {
		return fmt.Errorf("keeping it until %v: %w", t, store.ErrInvalid)
	}
	return nil
}

// appendRecord appends what a record's file holds.
func appendRecord(b []byte, rec store.Record) []byte {
	h := header{Key: rec.Key, Version: rec.Version, Bytes: len(rec.Value), Sum: crc32.ChecksumIEEE(rec.Value)}
	if !rec.Expires.IsZero() {
		h.Expires = rec.Expires.UnixNano()
	}
	line, err := json.Marshal(h)
	if err != nil {
		panic("BUG: marshalling a record's header: " + err.Error())
	}
	b = append(b, line...)
	b = append(b, '\n')
	return append(b, rec.Value...)
}

// write makes a record's file, so that it is there whole or not at all even if
// the machine loses its power.
func (r *Records) write(folder string, rec store.Record) error {
	path := r.file(folder, rec.Key)
	if err := r.makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	return replace(path, appendRecord(nil, rec))
}

// makeFolder makes a folder and those above it, durably.
func (r *Records) makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil || len(dir) <= len(r.dir) {
		return nil
	}
	if err := r.makeFolder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

// replace writes a file beside its place and moves it there. The caller holds the
// lock, so nobody else uses the temporary name.
func replace(path string, body []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (r *Records) remove(folder, key string) error {
	path := r.file(folder, key)
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// next returns a number greater than all before. It is durable before it is used:
// a number that was used is never given again.
func (r *Records) next() (uint64, error) {
	path := r.path(lastFile)
	var last uint64
	switch text, err := os.ReadFile(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		if last, err = strconv.ParseUint(strings.TrimSuffix(string(text), "\n"), 10, 64); err != nil {
			return 0, fmt.Errorf("the file %q holds no number; write a greater one than the version of any record into it: %w", path, store.ErrDamaged)
		}
	}
	last++
	return last, replace(path, strconv.AppendUint(nil, last, 10))
}
