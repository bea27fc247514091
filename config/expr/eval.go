package expr

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// holds reports whether the comparison is true.
func (s *step) holds(f *Fields) bool {
	switch s.field {
	case netProtocol:
		return s.oneText(f.Protocol)
	case tlsSNI:
		return s.oneText(f.SNI)
	case httpMethod:
		return s.oneText(f.Method)
	case httpHost:
		return s.oneText(f.Host)
	case httpPath:
		return s.oneText(f.Path)
	case httpSegments:
		v, ok := segments(f.Path, s.first, s.last)
		return ok && s.compareText(v)
	case httpSegmentCount:
		return f.Path != "" && s.compareNumber(int64(countSegments(f.Path)))
	case httpHeader:
		return f.Header != nil && s.header(f.Header)
	case httpQuery:
		return s.query(f.Query)
	case netSourceIP:
		return s.compareAddr(f.Source.Addr())
	case netSourcePort:
		return f.Source.IsValid() && s.compareNumber(int64(f.Source.Port()))
	case netDestinationIP:
		return s.compareAddr(f.Destination.Addr())
	case netDestinationPort:
		return f.Destination.IsValid() && s.compareNumber(int64(f.Destination.Port()))
	}
	panic("BUG: an expression asks for a field that does not exist")
}

// oneText compares a field that is absent if it is empty.
func (s *step) oneText(v string) bool { return v != "" && s.compareText(v) }

func (s *step) header(h Header) bool {
	found := false
	for from := 0; ; {
		v, next, ok := h.Next(s.name, from)
		if !ok {
			return found && !s.any
		}
		if s.compareText(v) == s.any {
			return s.any
		}
		found, from = true, next
	}
}

// query compares the values of the query's arguments of the name. Names are
// case-sensitive; an argument without "=" has an empty value.
func (s *step) query(q string) bool {
	found := false
	for q != "" {
		var arg string
		arg, q, _ = strings.Cut(q, "&")
		name, value, _ := strings.Cut(arg, "=")
		if unescape(name) != s.name {
			continue
		}
		if s.compareText(unescape(value)) == s.any {
			return s.any
		}
		found = true
	}
	return found && !s.any
}

// unescape decodes %XX and + as in a form. What is broken stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	return s
}

func (s *step) compareNumber(v int64) bool {
	switch s.op {
	case opEqual:
		return v == s.number
	case opNotEqual:
		return v != s.number
	case opGreater:
		return v > s.number
	case opGreaterEqual:
		return v >= s.number
	case opLess:
		return v < s.number
	case opLessEqual:
		return v <= s.number
	}
	panic("BUG: an operator that is not for numbers")
}

func (s *step) compareAddr(v netip.Addr) bool {
	if !v.IsValid() {
		return false
	}
	v = v.Unmap().WithZone("")
	switch s.op {
	case opEqual:
		return v == s.prefix.Addr()
	case opNotEqual:
		return v != s.prefix.Addr()
	case opIn:
		return s.prefix.Contains(v)
	case opNotIn:
		return !s.prefix.Contains(v)
	}
	panic("BUG: an operator that is not for addresses")
}

func (s *step) compareText(v string) bool {
	switch s.op {
	case opEqual:
		rest, ok := s.cut(v)
		return ok && rest == ""
	case opNotEqual:
		rest, ok := s.cut(v)
		return !ok || rest != ""
	case opPrefix:
		_, ok := s.cut(v)
		return ok
	case opSuffix:
		if s.lower {
			return hasLowerSuffix(v, s.text)
		}
		return strings.HasSuffix(v, s.text)
	case opContains:
		if s.lower {
			return containsLower(v, s.text)
		}
		return strings.Contains(v, s.text)
	case opRegex:
		return s.pattern.MatchString(s.lowered(v))
	}
	panic("BUG: an operator that is not for strings")
}

// lowered returns v as the comparison sees it.
func (s *step) lowered(v string) string {
	if s.lower {
		return strings.ToLower(v)
	}
	return v
}

// cut returns what follows the step's text in v, if v begins with it.
func (s *step) cut(v string) (rest string, ok bool) {
	if s.lower {
		return cutLower(v, s.text)
	}
	return strings.CutPrefix(v, s.text)
}

// cutLower is strings.CutPrefix of v in lower case, but rest is as it stands
// in v. It needs no second string.
func cutLower(v, text string) (rest string, ok bool) {
	for text != "" {
		r, n := utf8.DecodeRuneInString(v)
		want, m := utf8.DecodeRuneInString(text)
		if n == 0 || !sameLower(r, n, want, m, v[:n], text[:m]) {
			return "", false
		}
		v, text = v[n:], text[m:]
	}
	return v, true
}

// hasLowerSuffix is strings.HasSuffix of v in lower case.
func hasLowerSuffix(v, text string) bool {
	for text != "" {
		r, n := utf8.DecodeLastRuneInString(v)
		want, m := utf8.DecodeLastRuneInString(text)
		if n == 0 || !sameLower(r, n, want, m, v[len(v)-n:], text[len(text)-m:]) {
			return false
		}
		v, text = v[:len(v)-n], text[:len(text)-m]
	}
	return true
}

// containsLower is strings.Contains of v in lower case.
func containsLower(v, text string) bool {
	for {
		if _, ok := cutLower(v, text); ok {
			return true
		}
		_, n := utf8.DecodeRuneInString(v)
		if n == 0 {
			return false
		}
		v = v[n:]
	}
}

// sameLower reports whether rune r in lower case is want. Bytes that are not
// UTF-8 are compared as they are.
func sameLower(r rune, n int, want rune, m int, raw, wantRaw string) bool {
	if r == utf8.RuneError && n == 1 || want == utf8.RuneError && m == 1 {
		return raw == wantRaw
	}
	return unicode.ToLower(r) == want
}
