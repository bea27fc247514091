package crs

import (
	"bytes"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// withContent are the methods whose requests always say how long their content
// is.
var withContent = []string{"POST", "PUT", "PATCH", "DELETE"}

const (
	contentType    = "Content-Type"
	urlencodedType = "application/x-www-form-urlencoded"
)

// Bytes returns the request as it goes over the wire.
func (in *Input) Bytes() []byte {
	if in.Raw != nil {
		return in.Raw
	}
	fields, data := slices.Clone(in.Fields), in.Data
	if in.Complete && data != "" {
		fields = lacking(fields, contentType, urlencodedType)
		if value(fields, contentType) == urlencodedType {
			data = encodeForm(data)
		}
	}
	if strings.HasPrefix(value(fields, contentType), "multipart/form-data;") {
		// YAML has no CRLF, which the lines of multipart content end in.
		data = strings.ReplaceAll(data, "\n", "\r\n")
	}
	if in.Complete {
		fields = lacking(fields, "Connection", "close")
		if data != "" || slices.Contains(withContent, in.Method) {
			fields = lacking(fields, "Content-Length", strconv.Itoa(len(data)))
		}
	}
	var b bytes.Buffer
	b.WriteString(in.Method + " " + in.URI + " " + in.Version + "\r\n")
	for _, f := range fields {
		b.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	b.WriteString("\r\n" + data)
	return b.Bytes()
}

func value(fields []Field, name string) string {
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// lacking adds a field if there is none of that name with a value.
func lacking(fields []Field, name, v string) []Field {
	if value(fields, name) != "" {
		return fields
	}
	return append(slices.DeleteFunc(fields, func(f Field) bool { return strings.EqualFold(f.Name, name) }), Field{name, v})
}

// encodeForm encodes the names and values of a form that is written in clear.
// One that decoding would change is taken for encoded and left as it is, and so
// is one that cannot be decoded.
func encodeForm(data string) string {
	if plain, err := url.QueryUnescape(data); err != nil || plain != data {
		return data
	}
	pairs := strings.Split(data, "&")
	for i, p := range pairs {
		name, v, pair := strings.Cut(p, "=")
		pairs[i] = url.QueryEscape(name)
		if pair {
			pairs[i] += "=" + url.QueryEscape(v)
		}
	}
	return strings.Join(pairs, "&")
}

// whole reports whether a request is complete by its own words, so that its
// receiver has nothing to wait for. What it cannot make sense of is whole: its
// receiver must refuse it at once.
func whole(request []byte) bool {
	head, content, found := bytes.Cut(request, []byte("\r\n\r\n"))
	if !found {
		return false
	}
	length := 0
	for _, line := range bytes.Split(head, []byte("\r\n"))[1:] {
		name, v, _ := bytes.Cut(line, []byte(":"))
		v = bytes.TrimSpace(v)
		switch {
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return bytes.HasSuffix(content, []byte("0\r\n\r\n"))
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, _ = strconv.Atoi(string(v)) // what is no number is refused
		}
	}
	return len(content) >= length
}
