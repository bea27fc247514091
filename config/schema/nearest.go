package schema

import "strings"

// maxNearest bounds the length of names that are compared.
const maxNearest = 64

// Nearest returns the known name that s was most likely meant to be, or "" if
// none is near: at most a third of the letters may differ.
func Nearest(s string, known []string) string {
	if len(s) == 0 || len(s) > maxNearest {
		return ""
	}
	folded := strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(s))
	best, bestAt := "", max(1, len(s)/3)+1
	for _, k := range known {
		if len(k) > maxNearest {
			continue
		}
		d := distance(folded, strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(k)))
		if d < bestAt {
			best, bestAt = k, d
		}
	}
	if best == s {
		return ""
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	prev2 := make([]int, len(b)+1)
	prev := make([]int, len(b)+1)
	cur := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
