package policy

import "strings"

// Patterns finds what is said of a server name, in Kong's order: the name
// itself, then its longest "*.suffix", its longest "prefix.*", then "*".
type Patterns[T any] struct {
	exact, suffix, prefix map[string]T
	any                   *T
}

// Set says v of the names that a pattern stands for. Patterns are in lower case.
func (p *Patterns[T]) Set(pattern string, v T) {
	put := func(m *map[string]T, key string) {
		if *m == nil {
			*m = make(map[string]T)
		}
		(*m)[key] = v
	}
	switch {
	case pattern == "*":
		p.any = &v
	case strings.HasPrefix(pattern, "*."):
		put(&p.suffix, pattern[2:])
	case strings.HasSuffix(pattern, ".*"):
		put(&p.prefix, pattern[:len(pattern)-2])
	default:
		put(&p.exact, pattern)
	}
}

// Empty reports whether nothing is said of any name.
func (p *Patterns[T]) Empty() bool {
	return len(p.exact) == 0 && len(p.suffix) == 0 && len(p.prefix) == 0 && p.any == nil
}

// Find returns what is said of a name in lower case. Of no name, "", only what
// "*" stands for is said.
func (p *Patterns[T]) Find(name string) (v T, ok bool) {
	if v, ok = p.exact[name]; ok {
		return v, true
	}
	if len(p.suffix) > 0 {
		for rest := name; ; {
			_, tail, more := strings.Cut(rest, ".")
			if !more {
				break
			}
			if v, ok = p.suffix[tail]; ok {
				return v, true
			}
			rest = tail
		}
	}
	if len(p.prefix) > 0 {
		for rest := name; ; {
			i := strings.LastIndexByte(rest, '.')
			if i < 0 {
				break
			}
			rest = rest[:i]
			if v, ok = p.prefix[rest]; ok {
				return v, true
			}
		}
	}
	if p.any != nil {
		return *p.any, true
	}
	return v, false
}
