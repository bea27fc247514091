package pattern

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"rsc.io/binaryregexp"

	"github.com/bulwark-edge/bulwark/rules"
)

// expressions are what the package must tell as regexp does.
var expressions = []string{
	``, `a`, `abc`, `^`, `$`, `^$`, `^a$`, `(?m)^a$`, `(?m)^$`, `(?m)$^`, `(?m)$\n^`, `\A\z`, `a\z`, `\Aa`, `\n$`, `(?m)a$b`,
	`(?sm)^a.*b$`, `(?m)a.*b`, `a.b`, `(?s)a.b`, `(?i)k`, `(?i)s`, `(?i)select`, `(?i)[k-s]`, `\x{212a}`, `(?i)\x{17f}`, `(?i)straße`,
	`\b`, `\B`, `^\b`, `\b$`, `^\B$`, `\ba\b`, `\Ba\B`, `a\b.`, `a\B.`, `\b\B`, `(?:\b|a)b`, `\bk\b`, `(?i)\bk`, `a\b\n`, `(?m)\b^a`, `(?m)a$\b`,
	`a*`, `a+`, `a?b`, `a{2,5}`, `a{0}`, `(?:a|b)*c`, `(?:ab|cd){2}`, `[^a]`, `[^\n]`, `[^a-z]`, `[\s\x0b]+a`, `\w+@\w+`, `\d{1,3}(?:\.\d{1,3}){3}`,
	`.`, `(?s).`, `\x{fffd}`, `[^\x{fffd}]`, `é`, `[à-ü]`, `(?i)É`, `\pL+`, `\PL`, `日本`, `[\x{10000}-\x{10ffff}]`, `[^\x00-\x{7f}]`, `[[:^ascii:]]`,
	`(a)(b)?(c)`, `(?:(a)|b)*`, `(a*)*`, `(?U)a+b`, `a+?b`, `x*$`, `(?i)(?:un(?:ion|ique)|select)[\s(]+all`, `<[^>]*>`, `[\s\S]{3}a`, `a[^b]*b[^a]*a`,
	`(?i)^(?:post|get)$`, `[^\x{ff}]`, `\x{ff}`, `\x00`, `(?:a\b|b)(?:\b|c)`, `a$|b`, `(?m)(?:^|b)(?:a|$)`, `[^\pL]*k`, `K(?i:k)`, `(?i:s)S`, `a(?:^b|$)`,
}

// byteExpressions are what it must tell as binaryregexp does.
var byteExpressions = []string{
	`\xbc`, `\x{bc}[^>\x{be}]*[>\x{be}]|<[^\x{be}]*\x{be}`, `(?i)\xe9`, `[\x80-\xff]+a`, `\xac\xed\x00\x05`, `^\xff$`, `\b\xe9\b`, `[^\xff]`, `(?s).\xff`,
	`(?i)k\xff?`, `(?i)s`, `\xb5`, `(?i)\xb5|\xff`, `(?m)^\xc3$`, `.`, `((?:\x{c2}\x{b4}|\x{e2}\x80[\x98\x99])[^a]*?){2}`,
}

// pieces are what random strings are made of.
var pieces = []string{
	"a", "b", "c", "k", "K", "s", "S", "\u212a", "\u017f", "é", "É", "ü", "日", "本", "\U0001f600", "\xff", "\xc3", "\xe2\x80", "\xbc", "\xbe", "\xb5", "\xb4",
	"\ufffd", "\n", "\r", "\x00", "\x0b", " ", "_", "0", "9", ".", "<", ">", "'", "\"", "(", ")", "/", "*", "-", "=", ";", "select", "UNION", "union all", "straße", "STRASSE",
}

// random makes a string of pieces.
func random(r *rand.Rand, from []string) string {
	var b strings.Builder
	for range r.IntN(12) {
		b.WriteString(from[r.IntN(len(from))])
	}
	return b.String()
}

// compiled compiles an expression here, and with the package it must agree with.
func compiled(tb testing.TB, expr string, bytes bool, m *Memory) (*Pattern, matcher) {
	tb.Helper()
	if bytes {
		p, err := CompileBytes(expr, m)
		if err != nil {
			tb.Fatal(err)
		}
		return p, binaryregexp.MustCompile(expr)
	}
	p, err := Compile(expr, m)
	if err != nil {
		tb.Fatal(err)
	}
	return p, regexp.MustCompile(expr)
}

// agree holds what a pattern says of a string against the package it follows. It
// asks the states themselves too, since MatchString may have asked the package.
func agree(tb testing.TB, p *Pattern, want matcher, s string) {
	tb.Helper()
	matches := want.MatchString(s)
	if len(s) < p.min && matches {
		tb.Fatalf("%q matches %q, which is shorter than %d", p.expr, s, p.min)
	}
	if p.program != nil {
		if got, known := p.scan(s); known && got != matches {
			tb.Fatalf("%q and %q: the states say %v, the package %v", p.expr, s, got, matches)
		}
	}
	if got := p.MatchString(s); got != matches {
		tb.Fatalf("%q and %q: got %v, the package says %v", p.expr, s, got, matches)
	}
	if diff := cmp.Diff(want.FindStringSubmatchIndex(s), p.FindStringSubmatchIndex(s)); diff != "" {
		tb.Fatalf("%q and %q: (-package +got)\n%s", p.expr, s, diff)
	}
}

// TestAgrees asks every expression for every string of up to two pieces, and for
// random longer ones.
func TestAgrees(t *testing.T) {
	t.Parallel()
	m := NewMemory(64 << 20)
	r := rand.New(rand.NewPCG(1, 2))
	check := func(expr string, bytes bool) {
		p, want := compiled(t, expr, bytes, m)
		if p.program == nil {
			t.Fatalf("%q has no program", expr)
		}
		agree(t, p, want, "")
		for _, a := range pieces {
			agree(t, p, want, a)
			for _, b := range pieces {
				agree(t, p, want, a+b)
			}
		}
		for range 2000 {
			agree(t, p, want, random(r, pieces))
		}
	}
	for _, expr := range expressions {
		check(expr, false)
	}
	for _, expr := range byteExpressions {
		check(expr, true)
	}
}

var rxOperator = regexp.MustCompile(`"!?@rx ((?:[^"\\]|\\.)*)"`)

// ruleExpressions are those of the Core Rule Set, as the engine runs them.
func ruleExpressions(tb testing.TB) (exprs []string, bytes []bool) {
	tb.Helper()
	w, err := rules.WAF("")
	if err != nil {
		tb.Fatal(err)
	}
	names, err := fs.Glob(w.FS, "crs/*.conf")
	if err != nil {
		tb.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range names {
		text, err := fs.ReadFile(w.FS, name)
		if err != nil {
			tb.Fatal(err)
		}
		for _, found := range rxOperator.FindAllStringSubmatch(string(text), -1) {
			expr := strings.ReplaceAll(found[1], `\"`, `"`)
			if known[expr] || strings.Contains(expr, "%{") {
				continue
			}
			known[expr] = true
			raw := Bytes(expr)
			if !raw {
				expr = "(?sm)" + expr
			}
			exprs, bytes = append(exprs, expr), append(bytes, raw)
		}
	}
	if len(exprs) < 200 || !slices.Contains(bytes, true) {
		tb.Fatalf("found %d expressions in the rules", len(exprs))
	}
	return exprs, bytes
}

// TestAgreesForTheRules asks every expression of the Core Rule Set for strings
// of its own alphabet and of all others' words.
func TestAgreesForTheRules(t *testing.T) {
	t.Parallel()
	m := NewMemory(64 << 20)
	exprs, bytes := ruleExpressions(t)
	r := rand.New(rand.NewPCG(3, 4))
	runs, matches := 100, 0
	if testing.Short() {
		runs = 60
	}
	for n, expr := range exprs {
		p, want := compiled(t, expr, bytes[n], m)
		if p.program == nil {
			t.Errorf("%q has no program", expr)
			continue
		}
		if !bytes[n] {
			tree, err := syntax.Parse(expr, syntax.Perl)
			if err != nil {
				t.Fatal(err)
			}
			for range runs {
				s := sampleOf(r, tree, 0)
				if want.MatchString(s) {
					matches++
				}
				agree(t, p, want, s)
				agree(t, p, want, mutated(r, random(r, pieces)+s+random(r, pieces)))
			}
		}
		for range runs / 4 {
			agree(t, p, want, random(r, pieces)+sampleOfAny(r, exprs, bytes))
		}
	}
	if matches < runs*len(exprs)/2 {
		t.Errorf("of %d strings made to match only %d do", runs*len(exprs), matches)
	}
}

// sampleOfAny makes a string for a random expression.
func sampleOfAny(r *rand.Rand, exprs []string, bytes []bool) string {
	for {
		if n := r.IntN(len(exprs)); !bytes[n] {
			tree, err := syntax.Parse(exprs[n], syntax.Perl)
			if err != nil {
				panic(err)
			}
			return sampleOf(r, tree, 0)
		}
	}
}

// sampleOf makes a string that the expression matches, but for assertions, which
// it leaves to luck.
func sampleOf(r *rand.Rand, t *syntax.Regexp, depth int) string {
	times := func(least, most int) string {
		if most < 0 || most > least+3 {
			most = least + 3
		}
		if depth > 12 {
			most = least
		}
		var b strings.Builder
		for range least + r.IntN(most-least+1) {
			b.WriteString(sampleOf(r, t.Sub[0], depth+1))
		}
		return b.String()
	}
	switch t.Op {
	case syntax.OpLiteral:
		s := string(t.Rune)
		if t.Flags&syntax.FoldCase != 0 {
			switch r.IntN(4) {
			case 0:
				s = strings.ToUpper(s)
			case 1:
				s = strings.NewReplacer("k", "\u212a", "s", "\u017f", "K", "\u212a", "S", "\u017f").Replace(s)
			}
		}
		return s
	case syntax.OpCharClass:
		if len(t.Rune) == 0 {
			return ""
		}
		n := r.IntN(len(t.Rune)/2) * 2
		return string(t.Rune[n] + r.Int32N(min(t.Rune[n+1]-t.Rune[n]+1, 300)))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return pieces[r.IntN(len(pieces))]
	case syntax.OpCapture:
		return sampleOf(r, t.Sub[0], depth+1)
	case syntax.OpStar:
		return times(0, -1)
	case syntax.OpPlus:
		return times(1, -1)
	case syntax.OpQuest:
		return times(0, 1)
	case syntax.OpRepeat:
		return times(t.Min, t.Max)
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range t.Sub {
			b.WriteString(sampleOf(r, sub, depth+1))
		}
		return b.String()
	case syntax.OpAlternate:
		return sampleOf(r, t.Sub[r.IntN(len(t.Sub))], depth+1)
	case syntax.OpBeginLine, syntax.OpEndLine:
		return []string{"", "\n"}[r.IntN(2)]
	}
	return ""
}

// mutated changes a byte or two.
func mutated(r *rand.Rand, s string) string {
	b := []byte(s)
	for range r.IntN(3) {
		if len(b) == 0 {
			break
		}
		n := r.IntN(len(b))
		switch r.IntN(3) {
		case 0:
			b[n] = byte(r.IntN(256))
		case 1:
			b = slices.Delete(b, n, n+1)
		case 2:
			b = slices.Insert(b, n, []byte(pieces[r.IntN(len(pieces))])...)
		}
	}
	return string(b)
}

// TestErrors: what is wrong with an expression is what the package says.
func TestErrors(t *testing.T) {
	for _, expr := range []string{`(`, `a{2,1}`, `a**`, `\8`, `(?=a)`, `[b-a]`, `a{1001}`, "\xff"} {
		_, want := regexp.Compile(expr)
		if _, err := Compile(expr, NewMemory(1<<20)); want == nil || err == nil || err.Error() != want.Error() {
			t.Errorf("%q: the error is %v, want %v", expr, err, want)
		}
	}
	for _, expr := range []string{`(`, `a{2,1}`, `\xzz`} {
		_, want := binaryregexp.Compile(expr)
		if _, err := CompileBytes(expr, NewMemory(1<<20)); want == nil || err == nil || err.Error() != want.Error() {
			t.Errorf("%q: the error is %v, want %v", expr, err, want)
		}
	}
}

// TestBounds: with no room for states, and with so many that a string runs out of
// steps, the answers stay; and the states stay within the memory.
func TestBounds(t *testing.T) {
	t.Parallel()
	exprs := []string{`(?s)a.{12}b`, `(?i)(?:un(?:ion|ique)|select)[\s(]+all`, `(?:a|b)*c\b`, `(?s)x(?:a|b){3,30}y`}
	r := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []int64{1, 4 << 10, 64 << 10} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			m := NewMemory(limit)
			for _, expr := range exprs {
				p, want := compiled(t, expr, false, m)
				unknown := 0
				for range 500 {
					s := ""
					for range r.IntN(40) {
						s += random(r, []string{"a", "b", "x", "c ", "y"})
					}
					if _, known := p.scan(s); !known {
						unknown++
					}
					agree(t, p, want, s)
					if used := m.used.Load(); used > limit+patternMemory {
						t.Fatalf("%d bytes are used, of %d", used, limit)
					}
				}
				if unknown == 0 && expr == exprs[0] {
					t.Error("no string has run out of steps")
				}
			}
			if limit < 64<<10 && m.generation.Load() == 0 {
				t.Error("the states have never been made anew")
			}
		})
	}
}

// TestRetires: one long string makes no more states than a pattern may have, and
// states are left behind when they are full, by themselves or together.
func TestRetires(t *testing.T) {
	t.Parallel()
	const expr = `(?s)a.{30}b`
	r := rand.New(rand.NewPCG(7, 8))
	long := make([]byte, 1<<20)
	for n := range long {
		long[n] = "acd efghi"[r.IntN(9)]
	}
	m := NewMemory(64 << 20)
	p, want := compiled(t, expr, false, m)
	c := p.current()
	if _, known := p.scan(string(long)); known {
		t.Error("a string of countless states was followed to its end")
	}
	one := int64(stateOverhead + 1 + 8*len(c.program.code) + 8*(int(c.program.classes)+1)) // at most
	if c.bytes > patternMemory+one {
		t.Errorf("the states take %d bytes, of %d", c.bytes, patternMemory)
	}
	if p.current() == c {
		t.Error("full states are still in use")
	}
	agree(t, p, want, string(long[:8<<10]))
	c = p.current()
	if m.generation.Add(1); p.current() == c {
		t.Error("states of a generation that is gone are still in use")
	}

	p, _ = compiled(t, expr, false, NewMemory(1))
	c = p.current()
	p.scan(string(long[:100]))
	if p.states.Load() == c {
		t.Error("states beyond the memory of all are still in use")
	}
}

// TestTogether has many goroutines make the states of one pattern.
func TestTogether(t *testing.T) {
	t.Parallel()
	m := NewMemory(32 << 10)
	p, want := compiled(t, `(?i)\b(?:un(?:ion|ique)|select)[\s(]+(?:all|a.{3}b)\b`, false, m)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(n)))
			for range 2000 {
				s := random(r, pieces)
				if got := p.MatchString(s); got != want.MatchString(s) {
					t.Errorf("%q: got %v", s, got)
				}
			}
		})
	}
	wg.Wait()
}

// TestAllocations: a string whose states are known costs none.
func TestAllocations(t *testing.T) {
	p, _ := compiled(t, `(?i)(?:un(?:ion|ique)|select)[\s(]+all`, false, NewMemory(1<<20))
	s := "a quite ordinary string; select one of them, in union with others"
	if n := testing.AllocsPerRun(100, func() { p.MatchString(s); p.FindStringSubmatchIndex(s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMatch holds any expression and string against regexp and binaryregexp.
func FuzzMatch(f *testing.F) {
	for n, expr := range expressions {
		f.Add(expr, pieces[n%len(pieces)]+"a\nk\u212a\xff", false)
	}
	for _, expr := range byteExpressions {
		f.Add(expr, "\xbc<a\xbe>", true)
	}
	f.Fuzz(func(t *testing.T, expr, s string, bytes bool) {
		if len(expr) > 200 || len(s) > 1000 {
			return
		}
		m := NewMemory(1 << 20)
		var p *Pattern
		var want matcher
		var err, wantErr error
		if bytes {
			p, err = CompileBytes(expr, m)
			want, wantErr = binaryregexp.Compile(expr)
		} else {
			p, err = Compile(expr, m)
			want, wantErr = regexp.Compile(expr)
		}
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Fatalf("%q: the error is %v, the package's %v", expr, err, wantErr)
		}
		if err != nil {
			return
		}
		agree(t, p, want, s)
		agree(t, p, want, s+s)
	})
}
