package waf

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// inlineName stands for the text that includes all others.
const inlineName = "directives"

// directive is one directive of a rule text and where it begins.
type directive struct {
	file string
	line int
	name string // as it is written: SecRule, SecAction, ...
	args string // all that follows, continued lines joined
	raw  string // both
}

// place says where a directive stands, for those who are to mend it.
func (d directive) place() string {
	return fmt.Sprintf("%s line %d", d.file, d.line)
}

// scan cuts a text into directives as Coraza's parser does: comments and empty
// lines are skipped wherever they stand, a backslash at the end of a line
// continues it, and backticks enclose lines that are kept.
func scan(file string, content []byte) ([]directive, error) {
	var found []directive
	var joined strings.Builder
	start, inBackticks, n := 0, false, 0
	for raw := range bytes.Lines(content) {
		n++
		line := string(bytes.TrimSpace(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		if joined.Len() == 0 {
			start = n
		}
		switch {
		case !inBackticks && strings.HasSuffix(line, "`"):
			inBackticks = true
		case inBackticks && line[0] == '`':
			inBackticks = false
		}
		if inBackticks {
			joined.WriteString(line + "\n")
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			joined.WriteString(rest)
			continue
		}
		joined.WriteString(line)
		all := joined.String()
		joined.Reset()
		name, args, _ := strings.Cut(all, " ")
		found = append(found, directive{file: file, line: start, name: name, args: trimQuotes(args), raw: all})
	}
	if joined.Len() > 0 {
		return nil, fmt.Errorf("%s line %d: the directive is not ended", file, start)
	}
	return found, nil
}

// trimQuotes takes the quotes off arguments that stand in them as a whole.
func trimQuotes(args string) string {
	if len(args) >= 3 && args[0] == '"' && args[len(args)-1] == '"' {
		return strings.Trim(args, `"`)
	}
	return args
}

var (
	ruleID   = regexp.MustCompile(`(?i)[",\s]id\s*:\s*'?(\d+)`)
	dataFile = regexp.MustCompile(`(?i)"!?@(?:pmFromFile|pmf|ipMatchFromFile|ipMatchF|validateSchema)\s+([^"]+)"`)
)

// ruleID returns the id of a rule or action, or 0.
func (d directive) ruleID() int {
	m := ruleID.FindStringSubmatch(`"` + d.args)
	if m == nil {
		return 0
	}
	id, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return id
}

// dataFiles returns the files that the operator of a rule reads.
func (d directive) dataFiles() []string {
	if !strings.EqualFold(d.name, "SecRule") {
		return nil
	}
	var names []string
	for _, m := range dataFile.FindAllStringSubmatch(d.args, -1) {
		names = append(names, strings.TrimSpace(m[1]))
	}
	return names
}
