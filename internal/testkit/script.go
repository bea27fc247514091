package testkit

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// script is a parsed golden script.
type script struct {
	archive *txtar.Archive
	options map[string]string
	config  string
	steps   []step   // of the client, in order
	answers [][]part // of the upstream
	log     bool     // the script looks at the log
}

// step is what the client does until it has got a reply.
type step struct {
	connect bool // on a new connection
	send    []part
	reply   int  // index of the reply's section; -1: there is none
	last    bool // on its connection
}

// part is bytes to be sent, or an action.
type part struct {
	bytes  []byte
	breaks []int // where bytes may be split, beside its ends
	action string
	wait   time.Duration
}

const (
	actHalfClose = "<half-close>"
	actClose     = "<close>"
	actReset     = "<reset>"
	actEarly     = "<early>"
	actHold      = "<hold>"
	actEcho      = "<echo>"
	actWait      = "<wait "
)

// parseScript reads a script.
func parseScript(src []byte) (*script, error) {
	s := &script{archive: txtar.Parse(src), options: make(map[string]string)}
	for line := range strings.Lines(string(s.archive.Comment)) {
		if list, ok := strings.CutPrefix(strings.TrimSpace(line), "options:"); ok {
			for o := range strings.SplitSeq(list, ",") {
				name, value, _ := strings.Cut(strings.TrimSpace(o), "=")
				if !slices.Contains([]string{"no-split", "tls", "sni", "upstream-tls", "refuse", "two", "cert", optionListener}, name) {
					return nil, fmt.Errorf("reading options: unknown option %q", name)
				}
				s.options[name] = value
			}
		}
	}
	for i, f := range s.archive.Files {
		text, err := withCertificates(string(f.Data))
		if err == nil {
			err = s.section(i, f.Name, text)
		}
		if err != nil {
			return nil, fmt.Errorf("reading section %d (%s): %w", i+1, f.Name, err)
		}
	}
	for i := range s.steps {
		s.steps[i].last = i+1 == len(s.steps) || s.steps[i+1].connect
	}
	return s, nil
}

func (s *script) section(i int, name, text string) error {
	switch name {
	case "config.yaml":
		s.config = text
	case "connect":
		s.steps = append(s.steps, step{connect: true, reply: -1})
	case "client":
		parts, err := parseParts(text)
		if err != nil {
			return err
		}
		if n := len(s.steps); n > 0 && s.steps[n-1].connect && s.steps[n-1].send == nil {
			s.steps[n-1].send = parts
			break
		}
		s.steps = append(s.steps, step{send: parts, reply: -1})
	case "reply":
		if len(s.steps) == 0 || s.steps[len(s.steps)-1].reply >= 0 {
			return fmt.Errorf("a reply without a client section before it")
		}
		s.steps[len(s.steps)-1].reply = i
	case "answer":
		parts, err := parseParts(text)
		if err != nil {
			return err
		}
		s.answers = append(s.answers, parts)
	case "log":
		s.log = true
	case "upstream":
	default:
		return fmt.Errorf("no section has that name")
	}
	return nil
}

// has reports whether an option is set.
func (s *script) has(option string) bool {
	_, ok := s.options[option]
	return ok
}

// expected returns the text of the section of a name; ok is false if there is
// none.
func (s *script) expected(name string) (text string, ok bool) {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

// setExpected writes the text of a section anew.
func (s *script) setExpected(name, text string) {
	for i, f := range s.archive.Files {
		if f.Name == name {
			s.archive.Files[i].Data = []byte(text)
		}
	}
}

// parseParts cuts a section into bytes and actions.
func parseParts(text string) ([]part, error) {
	var parts []part
	var lines strings.Builder
	flush := func() error {
		if lines.Len() == 0 {
			return nil
		}
		b, err := decode(lines.String())
		lines.Reset()
		parts = append(parts, part{bytes: b, breaks: breaks(b)})
		return err
	}
	for line := range strings.Lines(text) {
		word := strings.TrimSuffix(line, "\n")
		a, ok, err := parseAction(word)
		if err != nil {
			return nil, err
		}
		if !ok {
			lines.WriteString(line)
			continue
		}
		if err := flush(); err != nil {
			return nil, err
		}
		parts = append(parts, a)
	}
	return parts, flush()
}

func parseAction(word string) (part, bool, error) {
	switch word {
	case actHalfClose, actClose, actReset, actEarly, actHold, actEcho:
		return part{action: word}, true, nil
	}
	if rest, ok := strings.CutPrefix(word, actWait); ok {
		d, err := time.ParseDuration(strings.TrimSuffix(rest, ">"))
		return part{action: actWait, wait: d}, true, err
	}
	return part{}, false, nil
}

// breaks returns every border within b, but of those inside a long run of one
// byte only three.
func breaks(b []byte) []int {
	var at []int
	for i := 0; i < len(b); {
		n := 1
		for i+n < len(b) && b[i+n] == b[i] {
			n++
		}
		if n < longRun {
			for k := range n {
				at = append(at, i+k)
			}
		} else {
			at = append(at, i, i+1, i+n/2, i+n-1)
		}
		i += n
	}
	if len(at) > 0 {
		at = at[1:] // there is nothing in front of the first byte
	}
	return at
}

// split says how the bytes of one side are sent.
type split struct {
	at   int  // border within each part, as an index into its breaks; -1: none
	each bool // at every border
}

func whole() split { return split{at: -1} }

// pieces cuts p's bytes as sp says.
func (sp split) pieces(p *part) [][]byte {
	at := p.breaks
	switch {
	case sp.each:
	case sp.at >= 0 && sp.at < len(at):
		at = at[sp.at : sp.at+1]
	default:
		at = nil
	}
	var all [][]byte
	from := 0
	for _, i := range at {
		all = append(all, p.bytes[from:i])
		from = i
	}
	return append(all, p.bytes[from:])
}

// mostBreaks returns the number of borders of the part that has most.
func mostBreaks(parts []part) int {
	n := 0
	for i := range parts {
		n = max(n, len(parts[i].breaks))
	}
	return n
}
