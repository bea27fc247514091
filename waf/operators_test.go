package waf

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	coraza "github.com/corazawaf/coraza/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/testkit/crs"
	"github.com/bulwark-edge/bulwark/rules"
)

// suite are the requests of the Core Rule Set's own tests.
func suite(tb testing.TB) []crs.Input {
	tb.Helper()
	tests, err := crs.Load(crstests.FS)
	if err != nil {
		tb.Fatal(err)
	}
	var all []crs.Input
	for _, test := range tests {
		for _, stage := range test.Stages {
			all = append(all, stage.Input)
		}
	}
	return all
}

// valuesOf are what rules look at in requests, as it is sent and decoded.
func valuesOf(inputs []crs.Input) []string {
	known := map[string]bool{}
	var found []string
	add := func(s string) {
		if !known[s] && len(s) < 2000 {
			known[s] = true
			found = append(found, s)
		}
	}
	for _, in := range inputs {
		_, query, _ := strings.Cut(in.URI, "?")
		for _, part := range append(strings.Split(query, "&"), strings.Split(in.Data, "&")...) {
			_, value, _ := strings.Cut(part, "=")
			if decoded, err := url.QueryUnescape(value); err == nil {
				value = decoded
			}
			add(value)
		}
		for _, f := range in.Fields {
			add(f.Value)
		}
	}
	return found
}

// matches returns the rules that match a value, and what they captured.
func matches(tb testing.TB, w coraza.WAF, value string) []string {
	tx := w.NewTransactionWithID("t")
	tx.AddGetRequestArgument("x", value)
	tx.ProcessRequestHeaders()
	var found []string
	for _, m := range tx.MatchedRules() {
		found = append(found, fmt.Sprint(m.Rule().ID(), m.Data()))
	}
	if err := tx.Close(); err != nil {
		tb.Fatal(err)
	}
	return found
}

// TestRxIsCorazas asks each regular expression of the Core Rule Set, with
// captures and without, for the values of its own tests and for such with bytes
// changed: matches and captures must be those of Coraza's own operator.
func TestRxIsCorazas(t *testing.T) {
	t.Parallel()
	register()
	ours, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(operatorRules(kept.operators)))
	if err != nil {
		t.Fatal(err)
	}
	defer closeWAF(ours)
	all := valuesOf(suite(t))
	if len(kept.operators) < 250 || len(all) < 2500 {
		t.Fatalf("there are %d operators and %d values", len(kept.operators), len(all))
	}
	r := rand.New(rand.NewPCG(1, 2))
	step := 12
	if testing.Short() || raceEnabled {
		step = 40
	}
	count := 0
	for n := r.IntN(step); n < len(all); n += 1 + r.IntN(2*step-1) {
		for _, value := range []string{all[n], changed(r, all[n])} {
			want := matches(t, kept.separate, value)
			if diff := cmp.Diff(want, matches(t, ours, value)); diff != "" {
				t.Fatalf("%q: (-Coraza +ours)\n%s", value, diff)
			}
			count += len(want)
		}
	}
	if count < len(all)/step {
		t.Errorf("only %d rules matched at all", count)
	}
}

// changed changes some bytes of a value to such as matter to expressions.
func changed(r *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + r.IntN(3) {
		n := r.IntN(len(b) + 1)
		b = slices.Insert(b, n, []byte([]string{"\n", "\xbc", "\u212a", "\u017f", "'", " ", "\x00", "\xe2\x80", "(", "/", ".", ";"}[r.IntN(12)])...)
		if n = r.IntN(len(b)); r.IntN(2) == 0 {
			b = slices.Delete(b, n, n+1)
		}
	}
	return string(b)
}

// TestVerdictsAreCorazas runs the requests of the Core Rule Set's own tests
// through an engine at level 4, and through one with Coraza's own operators:
// verdicts, scores, matches and captures must be the same.
func TestVerdictsAreCorazas(t *testing.T) {
	t.Parallel()
	w, err := rules.WAF("")
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRules(w.FS, w.Directives)
	if err != nil {
		t.Fatal(err)
	}
	engines := new(Engines)
	ours, err := engines.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	theirs := &Engine{owner: engines, rules: r, waf: kept.core, turns: ours.turns, byID: ours.byID, byTag: ours.byTag, users: 1}
	settings := Settings{Mode: Block, ParanoiaLevel: 4, InboundThreshold: 100000}
	profiles := [2]*Profile{}
	for n, e := range []*Engine{ours, theirs} {
		if profiles[n], err = e.Profile(settings); err != nil {
			t.Fatal(err)
		}
	}
	step, told := 12, 0
	if testing.Short() || raceEnabled {
		step = 60
	}
	all := suite(t)
	for n := offset(t, step); n < len(all); n += step {
		var said [2]string
		for side, p := range profiles {
			said[side] = tell(p, &all[n])
		}
		if said[0] != said[1] {
			t.Errorf("%q: (-Coraza +ours)\n%s", all[n].Bytes(), cmp.Diff(said[1], said[0]))
		}
		if strings.Contains(said[0], "942") {
			told++
		}
	}
	if told < len(all)/step/10 {
		t.Errorf("only %d requests are told of by rules of SQL", told)
	}
	if err := ours.Close(); err != nil {
		t.Error(err)
	}
	if err := engines.Close(); err != nil {
		t.Error(err)
	}
}

// offsetVar names the sample of the rule set's tests that TestVerdictsAreCorazas
// takes: the number of its first request. All of them are those of 0 to 11.
const offsetVar = "BULWARK_TEST_OFFSET"

// offset returns the first request of a sample, 0 unless the environment has
// another.
func offset(t *testing.T, step int) int {
	t.Helper()
	s := os.Getenv(offsetVar)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		t.Fatalf("%s is %q", offsetVar, s)
	}
	t.Logf("%s is %d", offsetVar, n)
	return n % step
}

// tell inspects a request and writes down what came of it. Matches in the values
// of a collection come in any order, by which rules number variables too.
func tell(p *Profile, in *crs.Input) string {
	var f sampleFields
	for _, field := range in.Fields {
		f = append(f, [2]string{field.Name, field.Value})
	}
	i := p.Begin(sampleConnection)
	v := i.RequestHead(&RequestHead{Method: in.Method, Target: in.URI, Proto: in.Version, Fields: &f})
	if v.Action == Pass {
		v = i.RequestBody([]byte(in.Data), true)
	}
	e := i.End()
	var b strings.Builder
	fmt.Fprintln(&b, v.Action, v.Rule, v.Err)
	if e == nil {
		return b.String()
	}
	fmt.Fprintln(&b, e.Scores, e.Uninspected)
	var lines []string
	for _, m := range e.Matches {
		line := fmt.Sprint(m.Rule, m.More)
		if m.More == 0 && len(m.Targets) == 1 {
			if m.Rule != 941101 && m.Rule != 941181 { // they tell what another rule has captured
				line += m.Data
			}
			line += m.Message + strings.TrimRight(m.Targets[0].Variable, "0123456789") + m.Targets[0].Value
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, "\n"))
	return b.String()
}

// TestRxErrors: what is wrong with an expression is told as Coraza tells it.
func TestRxErrors(t *testing.T) {
	for expr, want := range map[string]string{`(`: "missing closing )", `a{2,1}`: "invalid repeat count", `(?=a)`: "invalid or unsupported Perl syntax"} {
		register()
		_, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(`SecRule ARGS "@rx ` + expr + `" "id:1,phase:1,pass"`))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %q", expr, err, want)
		}
	}
}
