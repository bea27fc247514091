package traffic

import (
	"bytes"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

//go:embed ordinary excluded attacks
var files embed.FS

// Request is one request as it goes over the wire.
type Request struct {
	Kind  string // The name of its archive.
	Name  string
	Bytes []byte
}

// Ordinary returns the requests that must pass at paranoia level 1.
func Ordinary() ([]Request, error) { return load(files, "ordinary") }

// Excluded returns ordinary requests that the rule set denies unless rules are
// excluded: 942290 and 930130 by the address, 920420 by the type, and those on
// data URLs.
func Excluded() ([]Request, error) { return load(files, "excluded") }

// Attacks returns the requests that must not pass.
func Attacks() ([]Request, error) { return load(files, "attacks") }

func load(fsys fs.FS, dir string) ([]Request, error) {
	names, err := fs.Glob(fsys, dir+"/*.txtar")
	if err != nil {
		return nil, err
	}
	var all []Request
	for _, name := range names {
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		kind := strings.TrimSuffix(path.Base(name), ".txtar")
		for _, f := range txtar.Parse(src).Files {
			b, err := request(string(f.Data))
			if err != nil {
				return nil, fmt.Errorf("reading the request %q of %s: %w", f.Name, name, err)
			}
			all = append(all, Request{kind, f.Name, b})
		}
	}
	return all, nil
}

// request makes the bytes of a request that is written as the package's comment
// says.
func request(src string) ([]byte, error) {
	head, text, hasContent := strings.Cut(src, "\n\n")
	head = strings.TrimSuffix(head, "\n")
	content, err := content(strings.TrimSuffix(text, "\n"), strings.Contains(head, "multipart/form-data"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n")
	switch {
	case strings.Contains(head, "\nTransfer-Encoding: chunked"):
		middle := len(content) / 2
		b.WriteString("\r\n")
		for _, chunk := range [][]byte{content[:middle], content[middle:]} {
			if len(chunk) > 0 {
				fmt.Fprintf(&b, "%x\r\n%s\r\n", len(chunk), chunk)
			}
		}
		b.WriteString("0\r\n\r\n")
	case hasContent:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(content), content)
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes(), nil
}

func content(text string, multipart bool) ([]byte, error) {
	var b bytes.Buffer
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteString("\r\n")
		}
		digits, isHex := strings.CutPrefix(line, "hex ")
		if !isHex {
			b.WriteString(line)
			continue
		}
		raw, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("reading bytes in hex: %w", err)
		}
		b.Write(raw)
	}
	if multipart {
		b.WriteString("\r\n")
	}
	return b.Bytes(), nil
}
