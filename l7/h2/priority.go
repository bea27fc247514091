package h2

import "strings"

// defaultUrgency is that of a stream whose client says nothing (RFC 9218 section
// 4.1).
const defaultUrgency = 3

// parsePriority reads a Priority field (RFC 9218 section 4): a dictionary of
// which u, a digit up to 7, and i, a boolean, are known. What is not of that form
// is as if it were not there.
func parsePriority(value string) (urgency uint8, incremental bool) {
	urgency = defaultUrgency
	for member := range strings.SplitSeq(value, ",") {
		member, _, _ = strings.Cut(strings.Trim(member, " \t"), ";")
		switch key, v, given := strings.Cut(member, "="); key {
		case "u":
			if len(v) == 1 && '0' <= v[0] && v[0] <= '7' {
				urgency = v[0] - '0'
			}
		case "i":
			if !given || v == "?1" {
				incremental = true
			} else if v == "?0" {
				incremental = false
			}
		}
	}
	return urgency, incremental
}
