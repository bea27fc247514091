package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// repetition is how a long run of one text is written in a script.
var repetition = regexp.MustCompile(`<([0-9]+)\*([^<>*\\]+)>`)

// decode returns the bytes that the lines of a section stand for.
func decode(text string) ([]byte, error) {
	var out []byte
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		ended := true
		if n := trailingBackslashes(line); n%2 == 1 {
			ended, line = false, line[:len(line)-1]
		}
		b, err := unescape(expand(line))
		if err != nil {
			return nil, fmt.Errorf("reading line %q: %w", line, err)
		}
		out = append(out, b...)
		if ended {
			out = append(out, "\r\n"...)
		}
	}
	return out, nil
}

func expand(line string) string {
	return repetition.ReplaceAllStringFunc(line, func(s string) string {
		m := repetition.FindStringSubmatch(s)
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return s
		}
		return strings.Repeat(m[2], n)
	})
}

func trailingBackslashes(s string) int { return len(s) - len(strings.TrimRight(s, `\`)) }

var errEscape = errors.New("a backslash that begins no escape")

func unescape(s string) ([]byte, error) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, errEscape
		}
		switch s[i] {
		case 'r':
			out = append(out, '\r')
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case '0':
			out = append(out, 0)
		case '\\':
			out = append(out, '\\')
		case 'x':
			if i+2 >= len(s) {
				return nil, errEscape
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return nil, err
			}
			out = append(out, byte(n))
			i += 2
		default:
			return nil, errEscape
		}
	}
	return out, nil
}

// cutMark stands in captured bytes where content broke off. It is rendered as
// the line <cut>.
const cutMark = "\x00<cut>\x00"

// render is the inverse of decode.
func render(b []byte) string {
	var out strings.Builder
	for i, part := range bytes.Split(b, []byte(cutMark)) {
		if i > 0 {
			out.WriteString("<cut>\n")
		}
		renderPart(&out, part)
	}
	return out.String()
}

func renderPart(out *strings.Builder, b []byte) {
	for len(b) > 0 {
		line, rest, ended := bytes.Cut(b, []byte("\r\n"))
		b = rest
		writeEscaped(out, line)
		if !ended {
			out.WriteByte('\\')
		}
		out.WriteByte('\n')
	}
}

// longRun is the number of equal bytes from which a run is written short.
const longRun = 64

func writeEscaped(out *strings.Builder, line []byte) {
	for i := 0; i < len(line); i++ {
		c := line[i]
		n := 1
		for i+n < len(line) && line[i+n] == c {
			n++
		}
		if n >= longRun && c > ' ' && c < 0x7f && !strings.ContainsRune(`<>*\`, rune(c)) {
			fmt.Fprintf(out, "<%d*%c>", n, c)
			i += n - 1
			continue
		}
		switch {
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\t':
			out.WriteString(`\t`)
		case c == 0:
			out.WriteString(`\0`)
		case c == '\\':
			out.WriteString(`\\`)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(out, `\x%02x`, c)
		default:
			out.WriteByte(c)
		}
	}
}
