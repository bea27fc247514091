package testkit

import (
	"regexp"
	"strings"
	"time"
)

// normalize replaces what differs from run to run in rendered text. ports are
// pairs of a port and its name.
func normalize(text string, ports ...string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		writeNormal(&out, line)
	}
	text = withoutCertificates(out.String())
	for i := 0; i+1 < len(ports); i += 2 {
		text = replaceNumber(text, ports[i], ports[i+1])
	}
	return text
}

// tracker is an id as correlation-id makes it of addresses, ports and times.
var tracker = regexp.MustCompile(`127\.0\.0\.1-[0-9]+-[0-9]+-[0-9]+-1-[0-9]+\.[0-9]{3}`)

func writeNormal(out *strings.Builder, line string) {
	if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
		switch {
		case strings.HasPrefix(name, "X-Kong-") && strings.HasSuffix(name, "-Latency") && isNumber(value):
			out.WriteString(name + ": <ms>\n")
			return
		case name == "Date" && isNow(value):
			out.WriteString("Date: <date>\n")
			return
		}
	}
	if strings.Contains(line, "127.0.0.1-") {
		line = tracker.ReplaceAllString(line, "<tracker>")
	}
	writeWithoutIDs(out, line)
}

// writeWithoutIDs replaces ids: runs of 32 hex digits and UUIDs, the latter
// perhaps with a counter.
func writeWithoutIDs(out *strings.Builder, line string) {
	for i := 0; i < len(line); {
		n := i
		for n < len(line) && isIDByte(line[n]) {
			n++
		}
		if n == i {
			out.WriteByte(line[i])
			i++
			continue
		}
		switch run := line[i:n]; {
		case len(run) == 32 && !strings.Contains(run, "-"):
			out.WriteString("<id>")
		case len(run) == 36 && run[8] == '-' && run[13] == '-' && run[18] == '-' && run[23] == '-':
			out.WriteString("<uuid>")
			if n < len(line) && line[n] == '#' {
				for n++; n < len(line) && isDigit(line[n]); n++ {
				}
				out.WriteString("#<n>")
			}
		default:
			out.WriteString(run)
		}
		i = n
	}
}

func isIDByte(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || c == '-' }

func isNumber(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// isNow reports whether a Date was made now, and not by a script.
func isNow(value string) bool {
	at, err := time.Parse(time.RFC1123, value)
	return err == nil && time.Since(at).Abs() < time.Hour
}

// replaceNumber replaces a number that is not part of a longer one.
func replaceNumber(text, number, name string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, number)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		end := i + len(number)
		out.WriteString(text[:i])
		if i > 0 && isDigit(text[i-1]) || end < len(text) && isDigit(text[end]) {
			out.WriteString(number)
		} else {
			out.WriteString(name)
		}
		text = text[end:]
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
