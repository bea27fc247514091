package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulwark-edge/bulwark/edge"
	wafplugin "github.com/bulwark-edge/bulwark/plugins/waf"
	"github.com/bulwark-edge/bulwark/waf"
)

func wafReplayCommand() *cobra.Command {
	var o tryOptions
	var all bool
	cmd := &cobra.Command{
		Use:   "replay LOG...",
		Short: "Tell what a configuration would make of exchanges that are in the logs",
		Long: `Tell what a configuration would make of exchanges that are in the logs.

The files, - for the standard input, are logs of the firewall: events
(node.log.waf, in the format json), or audit records (node.log.waf_audit), or
both. Each is judged by the configuration, and what would change is told.

An event tells which rules matched and where, but not the request. It is judged
by the exclusions, levels, thresholds and mode of its route, and by the rules
that still exist. What new or changed rules would find is not known.

An audit record with the parts B and C has the request, which is inspected anew,
as bulwark waf try does it. Values that were masked, content behind the first
128 KiB, and the order of fields are not as they were; responses are not inspected.

The exit code is 0 if every exchange would have the same outcome, 1 if one would
have another, and 2 if nothing could be replayed.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			changed, err := o.replay(cmd, args, all)
			switch {
			case err != nil:
				return exitError{exitUsage, err}
			case changed:
				return exitError{exitRefused, errSaid}
			}
			return nil
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "also tell of exchanges for which nothing would change")
	return cmd
}

// replayed is what came of one exchange.
type replayed struct {
	RequestID string         `json:"request_id"`
	Kind      string         `json:"kind"` // event, audit
	Method    string         `json:"method"`
	Target    string         `json:"target"`
	Route     string         `json:"route,omitempty"`
	Before    waf.Outcome    `json:"before"`
	After     waf.Outcome    `json:"after"`
	Gone      []waf.Vanished `json:"gone,omitempty"` // matches that would not be there any more
	New       []int          `json:"new,omitempty"`  // rules that would match, and have not
	Unsure    []string       `json:"unsure,omitempty"`
	Skipped   string         `json:"skipped,omitempty"` // why it could not be judged
}

func (r *replayed) changes() bool {
	return r.Skipped == "" && (r.Before != r.After || len(r.Gone) > 0 || len(r.New) > 0)
}

// replayer judges lines of logs.
type replayer struct {
	*rehearsal
	byRoute map[string]*waf.Replayer // nil: nothing inspects there
	all     bool
	json    *json.Encoder // nil: for people
	out     io.Writer

	total, outcomes, changed, skipped int
}

// replay judges all lines of the files, and reports whether an outcome would be
// another.
func (o *tryOptions) replay(cmd *cobra.Command, paths []string, all bool) (changed bool, err error) {
	r, err := o.rehearse(cmd.ErrOrStderr())
	if err != nil {
		return false, err
	}
	defer r.Close()
	p := &replayer{rehearsal: r, byRoute: make(map[string]*waf.Replayer), all: all, out: cmd.OutOrStdout()}
	if o.json {
		p.json = json.NewEncoder(p.out)
	}
	for _, path := range paths {
		if err := p.file(path, cmd.InOrStdin()); err != nil {
			return false, err
		}
	}
	if p.total == p.skipped {
		return false, fmt.Errorf("nothing could be replayed: %d exchanges in the logs, %d of them skipped", p.total, p.skipped)
	}
	if p.json == nil {
		fmt.Fprintf(p.out, "%d exchanges: %d with another outcome, %d more with other matches, %d skipped\n", p.total, p.outcomes, p.changed-p.outcomes, p.skipped)
	}
	return p.outcomes > 0, nil
}

func (p *replayer) file(path string, stdin io.Reader) error {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("opening the log: %w", err)
		}
		defer f.Close()
		in = f
	}
	for lines := bufio.NewReader(in); ; {
		line, err := readLine(lines)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the log %q: %w", path, err)
		}
		if r := p.line(line); r != nil {
			if err := p.tell(r); err != nil {
				return err
			}
		}
	}
}

// line judges a line of a log; nil if it is neither an event nor an audit record.
func (p *replayer) line(line []byte) *replayed {
	if bytes.HasPrefix(line, []byte(`{"transaction":`)) {
		var a waf.AuditRecord
		if json.Unmarshal(line, &a) != nil || a.Transaction.ID == "" {
			return nil
		}
		return p.record(&a)
	}
	var e waf.Event
	if json.Unmarshal(line, &e) != nil || e.RequestID == "" || e.Mode == "" {
		return nil
	}
	return p.event(&e)
}

// event judges an event by the settings of its route.
func (p *replayer) event(e *waf.Event) *replayed {
	r := &replayed{RequestID: e.RequestID, Kind: "event", Method: e.Method, Target: e.Target, Route: e.Route, Before: waf.Outcome{Action: e.Action, Would: e.Would}}
	judge, err := p.judge(e)
	switch {
	case e.Action == waf.Refused && judge == nil:
		r.Skipped = "it was refused before it had a route"
	case err != nil:
		r.Skipped = fmt.Sprintf("the route %q: %v", e.Route, err)
	case judge == nil:
		r.After = waf.Outcome{Action: waf.Pass.String()}
		r.Unsure = []string{"nothing inspects on this route"}
	default:
		got := judge.Replay(e)
		r.After, r.Gone, r.Unsure = got.After, got.Gone, got.Unsure
	}
	return r
}

// judge returns what judges an event: what inspects on its route, or everywhere if
// it was refused before it had one; nil if nothing does.
func (p *replayer) judge(e *waf.Event) (*waf.Replayer, error) {
	name, plan := e.Route, p.Global()
	if name != "" || e.Action != waf.Refused {
		route, err := p.Route(name)
		if err != nil {
			return nil, err
		}
		plan = route.Plan
	}
	if j, ok := p.byRoute[name]; ok {
		return j, nil
	}
	var judge *waf.Replayer
	for i := range plan.Request {
		if w, ok := plan.Request[i].Hook.(*wafplugin.Plugin); ok && w.Profile() != nil {
			judge = w.Profile().Replayer()
		}
	}
	p.byRoute[name] = judge
	return judge, nil
}

// record inspects the request of an audit record anew.
func (p *replayer) record(a *waf.AuditRecord) *replayed {
	t := &a.Transaction
	r := &replayed{RequestID: t.ID, Kind: "audit", Before: waf.Outcome{Action: waf.Pass.String()}}
	if t.Interrupted {
		r.Before.Action = waf.Deny.String()
	}
	if t.Request == nil || len(t.Request.Headers) == 0 {
		r.Skipped = "the record has no fields of the request (part B)"
		return r
	}
	r.Method, r.Target = t.Request.Method, t.Request.URI
	q, err := p.rebuild(t, r)
	if err != nil {
		r.Skipped = err.Error()
		return r
	}
	got, err := p.try(q)
	if errors.Is(err, errTLSWanted) {
		q.TLS = true
		got, err = p.try(q)
	}
	if err != nil {
		r.Skipped = err.Error()
		return r
	}
	r.Route, r.After = got.Route, waf.Outcome{Action: waf.Pass.String()}
	if got.Refused {
		r.After.Action = waf.Deny.String()
	} else if deniedResponse(a) {
		r.Skipped = "the response was denied, which is not inspected anew"
		return r
	}
	r.compare(a, got.Event)
	return r
}

// rebuild makes the request of an audit record, and notes what is not as it was.
func (p *replayer) rebuild(t *waf.AuditTransaction, r *replayed) (*edge.RehearsedRequest, error) {
	body, err := t.Request.Content()
	if err != nil {
		return nil, fmt.Errorf("reading the content of the record: %w", err)
	}
	const lineEnds = "\r\n"
	if strings.ContainsAny(t.Request.Method+t.Request.URI, lineEnds) {
		return nil, errors.New("the request of the record: a line's end within the request line")
	}
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\n", t.Request.Method, t.Request.URI)
	names := make([]string, 0, len(t.Request.Headers))
	for name := range t.Request.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.EqualFold(name, "Transfer-Encoding") {
			r.Unsure = append(r.Unsure, "the content was chunked")
			continue
		}
		for _, value := range t.Request.Headers[name] {
			if strings.ContainsAny(name+value, lineEnds) {
				return nil, fmt.Errorf("the request of the record: a line's end within the field %q", name)
			}
			fmt.Fprintf(&raw, "%s: %s\r\n", name, value)
		}
	}
	raw.WriteString("\r\n")
	raw.Write(body)
	q, notes, err := p.Read(raw.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the request of the record: %w", err)
	}
	r.Unsure = append(r.Unsure, notes...)
	if t.Request.BodyCut {
		r.Unsure = append(r.Unsure, "the record has not all of the content")
	}
	if t.Request.Masked {
		r.Unsure = append(r.Unsure, "values are masked in the record")
	}
	if q.Client, err = netip.ParseAddr(t.ClientIP); err != nil {
		return nil, fmt.Errorf("the client of the record: %w", err)
	}
	q.ID = t.ID
	return q, nil
}

// deniedResponse reports whether an exchange was denied for its response. Where the
// request is denied, no response is inspected.
func deniedResponse(a *waf.AuditRecord) bool {
	return a.Transaction.Interrupted && (a.Transaction.Response != nil || slices.ContainsFunc(a.Messages, func(m waf.AuditMessage) bool {
		// The error line (part H) begins with the client's address and the verdict.
		verdict, _, _ := strings.Cut(m.Error, "). ")
		return ofResponse(m.Data.ID) || strings.Contains(verdict, "] ModSecurity: Access denied with ") &&
			(strings.HasSuffix(verdict, " (phase 3") || strings.HasSuffix(verdict, " (phase 4"))
	}))
}

// ofResponse reports whether a rule of the Core Rule Set looks at responses.
func ofResponse(id int) bool { return 950000 <= id && id <= 959999 }

// compare notes which rules match now and have not, and the other way round. Those
// that look at the response are not looked at, nor the sums at the end (980000 on)
// if there are such.
func (r *replayed) compare(a *waf.AuditRecord, e *waf.Event) {
	if len(a.Messages) == 0 && e != nil && len(e.Matches) > 0 {
		r.Unsure = append(r.Unsure, "the record does not tell which rules matched (part K)")
		return
	}
	var before, after []int
	response := slices.ContainsFunc(a.Messages, func(m waf.AuditMessage) bool { return ofResponse(m.Data.ID) })
	for _, m := range a.Messages {
		if id := m.Data.ID; !ofResponse(id) && (!response || id < 980000 || id > 980999) {
			before = append(before, id)
		}
	}
	if e != nil {
		r.After.Would = e.Would
		for k := range e.Matches {
			after = append(after, e.Matches[k].Rule)
		}
	}
	for _, id := range before {
		if !slices.Contains(after, id) {
			r.Gone = append(r.Gone, waf.Vanished{Rule: id, Why: "it does not match"})
		}
	}
	for _, id := range after {
		if !slices.Contains(before, id) {
			r.New = append(r.New, id)
		}
	}
}

// tell counts what came of an exchange, and writes it if it is to be told.
func (p *replayer) tell(r *replayed) error {
	p.total++
	switch {
	case r.Skipped != "":
		p.skipped++
	case r.Before.Action != r.After.Action:
		p.outcomes++
		p.changed++
	case r.changes():
		p.changed++
	case !p.all:
		return nil
	}
	if p.json != nil {
		return p.json.Encode(r)
	}
	r.write(p.out)
	return nil
}

// write writes it for people. Whatever comes from a client is quoted.
func (r *replayed) write(out io.Writer) {
	fmt.Fprintf(out, "%q %q %q", r.RequestID, r.Method, r.Target)
	if r.Route != "" {
		fmt.Fprintf(out, ", route %q", r.Route)
	}
	if r.Skipped != "" {
		fmt.Fprintf(out, "\n    skipped: %s\n", r.Skipped)
		return
	}
	if r.Before == r.After {
		fmt.Fprintf(out, "\n    as before: %s\n", r.After)
	} else {
		fmt.Fprintf(out, "\n    before: %s, now: %s\n", r.Before, r.After)
	}
	for _, g := range r.Gone {
		fmt.Fprintf(out, "    rule %d matches no more: %s\n", g.Rule, g.Why)
	}
	for _, id := range r.New {
		fmt.Fprintf(out, "    rule %d matches now\n", id)
	}
	for _, u := range r.Unsure {
		fmt.Fprintf(out, "    unsure: %s\n", u)
	}
}

// errTLSWanted says that a request would have to come within TLS.
var errTLSWanted = errors.New("it takes requests within TLS only; say --tls")
