package certs

import "strings"

// patterns is a set of server names: exact ones and "*.suffix", which stands for
// every name below.
type patterns struct {
	exact, suffix map[string]bool
}

func newPatterns(names []string) patterns {
	p := patterns{exact: make(map[string]bool), suffix: make(map[string]bool)}
	for _, n := range names {
		n = strings.ToLower(n)
		if rest, ok := strings.CutPrefix(n, "*."); ok {
			p.suffix[rest] = true
		} else {
			p.exact[n] = true
		}
	}
	return p
}

func (p *patterns) match(name string) bool {
	if p.exact[name] {
		return true
	}
	for rest := name; ; {
		_, tail, ok := strings.Cut(rest, ".")
		if !ok {
			return false
		}
		if p.suffix[tail] {
			return true
		}
		rest = tail
	}
}
