package waf

import (
	"errors"
	"fmt"
	"strings"
)

// defaultResponseTypes are those that the recommended rules inspect.
var defaultResponseTypes = []string{"text/plain", "text/html", "text/xml"}

// processors say how content of a type is parsed; patterns are asked in the
// order exact, suffix, kind.
type processors struct {
	exact    map[string]Processor // "image/png"
	suffixes map[string]Processor // "application/*+json" as "application/+json"
	kinds    map[string]Processor // "image/*" as "image"
}

// compileProcessors checks and sorts a map of content types.
func compileProcessors(m map[string]Processor) (processors, error) {
	p := processors{map[string]Processor{}, map[string]Processor{}, map[string]Processor{}}
	var errs []error
	for pattern, processor := range m {
		switch processor {
		case URLEncoded, Multipart, JSON, XML, Raw, Uninspected:
		default:
			errs = append(errs, fmt.Errorf("the content type %q has the unknown processor %q", pattern, processor))
			continue
		}
		kind, sub, ok := strings.Cut(strings.ToLower(pattern), "/")
		suffix, isSuffix := strings.CutPrefix(sub, "*+")
		switch {
		case !ok || !isToken(kind) || strings.Contains(kind, "*"):
			errs = append(errs, fmt.Errorf("%q is no content type, and no pattern of one", pattern))
		case sub == "*":
			p.kinds[kind] = processor
		case isSuffix && isToken(suffix) && !strings.Contains(suffix, "*"):
			p.suffixes[kind+"/+"+suffix] = processor
		case isToken(sub) && !strings.Contains(sub, "*"):
			p.exact[kind+"/"+sub] = processor
		default:
			errs = append(errs, fmt.Errorf("%q is no content type, and no pattern of one", pattern))
		}
	}
	return p, errors.Join(errs...)
}

// of returns the processor that the map has for a type.
func (p *processors) of(contentType string) (Processor, bool) {
	if found, ok := p.exact[contentType]; ok {
		return found, true
	}
	kind, sub, _ := strings.Cut(contentType, "/")
	if plus := strings.LastIndexByte(sub, '+'); plus >= 0 {
		if found, ok := p.suffixes[kind+"/"+sub[plus:]]; ok {
			return found, true
		}
	}
	found, ok := p.kinds[kind]
	return found, ok
}

// isBinary reports whether content of the type is no text that a rule could
// read, so that taking it for a form would only cost memory.
func isBinary(contentType string) bool {
	kind, sub, _ := strings.Cut(contentType, "/")
	switch kind {
	case "image", "audio", "video", "font":
		return !strings.HasSuffix(sub, "+xml")
	case "application":
		return sub == "octet-stream" || sub == "zip" || sub == "gzip" || sub == "grpc" || strings.HasPrefix(sub, "grpc+")
	}
	return false
}

// mediaType is the content type of a field without its parameters, in lower
// case.
func mediaType(value string) string {
	t, _, _ := strings.Cut(value, ";")
	t = strings.TrimSpace(t)
	for i := range len(t) {
		if 'A' <= t[i] && t[i] <= 'Z' {
			return strings.ToLower(t)
		}
	}
	return t
}
