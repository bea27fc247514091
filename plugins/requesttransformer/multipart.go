package requesttransformer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
)

// maxParts bounds the parts of multipart content.
const maxParts = 1000

var errParts = fmt.Errorf("reading multipart content: it has more than %d parts", maxParts)

// parts are the parts of multipart/form-data content, in their order.
type parts struct {
	boundary string
	list     []formPart
}

// formPart is one part.
type formPart struct {
	name    string
	header  textproto.MIMEHeader
	content []byte
}

// parseParts reads multipart content.
func parseParts(content []byte, boundary string) (*parts, error) {
	p := &parts{boundary: boundary}
	if boundary == "" {
		return nil, errors.New("reading multipart content: there is no boundary")
	}
	r := multipart.NewReader(bytes.NewReader(content), boundary)
	for {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return p, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading multipart content: %w", err)
		}
		if len(p.list) == maxParts {
			return nil, errParts
		}
		if !named(part.Header["Content-Disposition"]) {
			return nil, errors.New("reading multipart content: the name of a part cannot be told")
		}
		b, err := io.ReadAll(part) // bounded by the content
		if err != nil {
			return nil, fmt.Errorf("reading multipart content: %w", err)
		}
		p.list = append(p.list, formPart{name: part.FormName(), header: part.Header, content: b})
	}
}

// named reports whether all readers see the same name in the Content-Disposition
// fields of a part: there is one, and it has no name in extended notation.
func named(fields []string) bool {
	if len(fields) != 1 || extended(fields[0], "name") {
		return false
	}
	kind, _, err := mime.ParseMediaType(fields[0])
	return err == nil && kind == "form-data"
}

// extended reports whether a field has the parameter in extended notation, such
// as name*=a or name*0=a (RFC 2231), which some readers know and others
// pass over.
func extended(field, parameter string) bool {
	quoted := false
	for i := 0; i < len(field); i++ {
		switch c := field[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			p := strings.TrimSpace(field[i+1:])
			if n := len(parameter); len(p) > n && p[n] == '*' && strings.EqualFold(p[:n], parameter) {
				return true
			}
		}
	}
	return false
}

func (p *parts) has(name string) bool {
	return slices.ContainsFunc(p.list, func(f formPart) bool { return f.name == name })
}

func (p *parts) remove(name string) {
	p.list = slices.DeleteFunc(p.list, func(f formPart) bool { return f.name == name })
}

// rename gives the parts of a name another one; those that have it are
// replaced.
func (p *parts) rename(name, to string) {
	if name == to || !p.has(name) {
		return
	}
	p.remove(to)
	for i := range p.list {
		if f := &p.list[i]; f.name == name {
			f.name = to
			_, params, err := mime.ParseMediaType(f.header.Get("Content-Disposition"))
			if err != nil {
				params = nil
			}
			f.header.Set("Content-Disposition", disposition(to, params["filename"]))
		}
	}
}

// replace leaves one part of that name.
func (p *parts) replace(name, value string) {
	i := slices.IndexFunc(p.list, func(f formPart) bool { return f.name == name })
	if i < 0 {
		return
	}
	p.list[i] = newPart(name, value)
	kept := p.list[:i+1]
	for _, f := range p.list[i+1:] {
		if f.name != name {
			kept = append(kept, f)
		}
	}
	p.list = kept
}

func (p *parts) add(name, value string) { p.list = append(p.list, newPart(name, value)) }

func newPart(name, value string) formPart {
	h := make(textproto.MIMEHeader)
	h.Set("Content-Disposition", disposition(name, ""))
	return formPart{name: name, header: h, content: []byte(value)}
}

// inQuotes escapes what would end a quoted name (RFC 7578 section 4.2 leaves it
// open; this is what browsers do).
var inQuotes = strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A")

// disposition returns the Content-Disposition of a part. Names are quoted, since
// many readers count on it.
func disposition(name, filename string) string {
	d := `form-data; name="` + inQuotes.Replace(name) + `"`
	if filename != "" {
		d += `; filename="` + inQuotes.Replace(filename) + `"`
	}
	return d
}

// encode writes the parts with the boundary they came with. A value that
// contains the boundary would end its part early; it is refused.
func (p *parts) encode() ([]byte, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary(p.boundary); err != nil {
		return nil, fmt.Errorf("writing multipart content: %w", err)
	}
	delimiter := []byte("--" + p.boundary)
	for i := range p.list {
		f := &p.list[i]
		if bytes.HasPrefix(f.content, delimiter) || bytes.Contains(f.content, append([]byte("\n"), delimiter...)) {
			return nil, errors.New("writing multipart content: a value contains the boundary")
		}
		part, err := w.CreatePart(f.header)
		if err != nil {
			return nil, fmt.Errorf("writing multipart content: %w", err)
		}
		_, _ = part.Write(f.content) // a bytes.Buffer does not fail
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("writing multipart content: %w", err)
	}
	return b.Bytes(), nil
}
