package waf

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	coraza "github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/debuglog"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
)

// rule is what an engine keeps of a rule.
type rule struct {
	id   int
	tags []string
	file string
	line int
}

// compile makes Coraza's WAF of the rules. uploads is the directory for parts
// of multipart bodies, which the caller has made.
func compile(r *Rules, uploads string) (w coraza.WAF, rules []rule, err error) {
	defer func() {
		// Coraza shares what it compiles by keys of several makes, and asserts
		// the type of what it finds.
		if p := recover(); p != nil {
			w, rules, err = nil, nil, fmt.Errorf("compiling the rules: panic: %v", p)
		}
	}()
	places := make(map[int]directive, len(r.directives))
	for _, d := range r.directives {
		if id := d.ruleID(); id != 0 {
			places[id] = d
		}
	}
	faults := &faultLog{}
	config := coraza.NewWAFConfig().WithDebugLogger(faults)
	config = experimental.WAFConfigWithRuleObserver(config, func(m types.RuleMetadata) {
		if m.ID() != 0 {
			d := places[m.ID()]
			rules = append(rules, rule{id: m.ID(), tags: m.Tags(), file: d.file, line: d.line})
		}
	})
	m := mounted{folder: r.dataHash[:16] + "/", files: maps.Clone(r.files)}
	m.files[prologueName] = []byte(prologue)
	m.files[epilogueName] = []byte(epilogue(uploads))
	config = config.WithRootFS(m).WithDirectivesFromFile(m.folder + prologueName)
	for _, name := range segments(r, m.files) {
		config = config.WithDirectivesFromFile(m.folder + name)
	}
	config = config.WithDirectivesFromFile(m.folder + epilogueName)
	w, err = coraza.NewWAF(config)
	if err != nil {
		return nil, nil, locate(r, err)
	}
	if len(faults.found) > 0 {
		closeWAF(w)
		return nil, nil, faults.err(r)
	}
	return w, rules, nil
}

// segments cuts the text into files so that each Include of its own stands
// alone: Coraza follows at most a hundred of those that it meets in files. The
// pieces between them are added to files.
func segments(r *Rules, files memory) []string {
	var names []string
	var piece strings.Builder
	flush := func() {
		if piece.Len() > 0 {
			name := fmt.Sprintf("%s-%d", inlineName, len(names))
			files[name] = []byte(piece.String())
			names = append(names, name)
			piece.Reset()
		}
	}
	top, _ := scan(inlineName, files[inlineName]) // NewRules has scanned it already
	for _, d := range top {
		if !strings.EqualFold(d.name, "Include") {
			piece.WriteString(d.raw + "\n")
			continue
		}
		flush()
		if !strings.Contains(d.args, "*") {
			names = append(names, resolve(inlineName, d.args))
			continue
		}
		found, _ := mounted{files: files}.Glob(d.args)
		names = append(names, found...)
	}
	flush()
	return names
}

// closeWAF gives back what a WAF shares with others.
func closeWAF(w coraza.WAF) {
	if c, ok := w.(experimental.WAFCloser); ok {
		_ = c.Close() // it only forgets, and never fails
	}
}

// maxPlaces are told where a directive that is wrong may stand: Coraza does not say
// which of several it means.
const maxPlaces = 3

// locate adds the place of the directive to an error that ended compiling.
// Coraza names the directive but not where it stands.
func locate(r *Rules, err error) error {
	text := err.Error()
	for _, mark := range []string{`compile the directive "`, `unknown directive "`} {
		_, rest, ok := strings.Cut(text, mark)
		if !ok {
			continue
		}
		name, cause, _ := strings.Cut(rest, `"`)
		cause = strings.TrimPrefix(cause, ": ")
		if cause == "" {
			cause = "unknown directive"
		}
		var places []string
		empty := slices.ContainsFunc(r.directives, func(d directive) bool { return strings.EqualFold(d.name, name) && d.args == "" })
		for _, d := range r.directives {
			if strings.EqualFold(d.name, name) && (!empty || d.args == "") { // one that says nothing is the wrong one
				places = append(places, d.place())
			}
		}
		if more := len(places) - maxPlaces; more > 0 {
			places = append(places[:maxPlaces], fmt.Sprintf("%d more places", more))
		}
		if len(places) > 0 {
			return fmt.Errorf("%s: directive %q: %s", strings.Join(places, " or "), name, cause)
		}
	}
	return fmt.Errorf("compiling the rules: %w", err)
}

// fault is a directive that is wrong, and why.
type fault struct {
	directive
	reason string
}

func (f fault) Error() string { return f.place() + ": " + f.reason }

// faultLog gathers what Coraza says of rules that do not compile. It is asked
// to go on after one (SecIgnoreRuleCompilationErrors), so all are found, and
// the WAF comes about and can be closed: one that does not keeps its share of
// what is compiled for good.
type faultLog struct {
	debuglog.Logger
	found []rejected
}

type rejected struct{ args, reason string }

func (l *faultLog) WithOutput(io.Writer) debuglog.Logger          { return l }
func (l *faultLog) With(...debuglog.ContextField) debuglog.Logger { return l }
func (l *faultLog) Trace() debuglog.Event                         { return debuglog.Noop().Trace() }
func (l *faultLog) Debug() debuglog.Event                         { return &faultEvent{log: l} }
func (l *faultLog) Info() debuglog.Event                          { return debuglog.Noop().Info() }
func (l *faultLog) Warn() debuglog.Event                          { return debuglog.Noop().Warn() }
func (l *faultLog) Error() debuglog.Event                         { return debuglog.Noop().Error() }
func (l *faultLog) WithLevel(level debuglog.Level) debuglog.Logger {
	if level == debuglog.LevelNoLog { // the epilogue's: compiling is over
		return debuglog.Noop()
	}
	return l
}

// err tells each fault with its place.
func (l *faultLog) err(r *Rules) error {
	var errs []error
	for _, f := range l.found {
		at := fault{directive{file: "the rules"}, f.reason}
		for _, d := range r.directives {
			if d.args == f.args {
				at.directive = d
				break
			}
		}
		errs = append(errs, at)
	}
	return errors.Join(errs...)
}

// faultEvent is one message of Coraza's to the log.
type faultEvent struct {
	log  *faultLog
	args string
	err  error
}

func (e *faultEvent) Msg(msg string) {
	if strings.HasPrefix(msg, "Ignoring rule compilation error") && e.err != nil {
		e.log.found = append(e.log.found, rejected{e.args, e.err.Error()})
	}
}

func (e *faultEvent) Str(key, val string) debuglog.Event {
	if key == "rule_id" {
		e.args = val
	}
	return e
}

func (e *faultEvent) Err(err error) debuglog.Event                 { e.err = err; return e }
func (e *faultEvent) Bool(string, bool) debuglog.Event             { return e }
func (e *faultEvent) Int(string, int) debuglog.Event               { return e }
func (e *faultEvent) Uint(string, uint) debuglog.Event             { return e }
func (e *faultEvent) Stringer(string, fmt.Stringer) debuglog.Event { return e }
func (e *faultEvent) IsEnabled() bool                              { return true }
