package waf

import (
	"slices"
	"strings"
	"testing"

	"github.com/corazawaf/coraza/v3/types"

	"github.com/bulwark-edge/bulwark/rules"
)

// FuzzForm holds our processor of forms against what Coraza makes of the same
// text as a query: the same names with the same values.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a=1&a=2&A=3", "=x&=y", "a%5Bb%5D=%zz+%4", "&&a&=&", "%00=%ff", strings.Repeat("x=1&", 1200), "a=%+1&b=%1+", "a%+5=1"} {
		f.Add(s)
	}
	p, w := measured(f, func(*rules.WAFRules) string { return smallRules })
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "#? \x00\r\n\t\v\f") {
			return // a target has no such bytes, or they end its query
		}
		tx := w.NewTransactionWithID("t").(transaction)
		defer tx.Close()
		tx.ProcessURI("/?"+text, "GET", "HTTP/1.1")
		want := values(tx.Variables().ArgsGet().FindAll())
		reached := tx.Variables().ArgumentsLimitReached().Get()

		ours, err := p.engine.begin("t")
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		ours.AddRequestHeader("Content-Type", "application/x-www-form-urlencoded")
		ours.ProcessRequestHeaders()
		if _, _, err := ours.WriteRequestBody([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := ours.ProcessRequestBody(); err != nil {
			t.Fatal(err)
		}
		v := ours.Variables()
		if got := values(v.ArgsPost().FindAll()); !slices.Equal(got, want) || v.ArgumentsLimitReached().Get() != reached {
			t.Errorf("the form is read as %q, limit reached %s; as a query it is %q, limit reached %s", got, v.ArgumentsLimitReached().Get(), want, reached)
		}
		if text != "" && v.RequestBody().Get() != text {
			t.Errorf("REQUEST_BODY is %q", v.RequestBody().Get())
		}
	})
}

// values are names and values, sorted.
func values(all []types.MatchData) []string {
	var list []string
	for _, d := range all {
		list = append(list, d.Key()+"\x00"+d.Value())
	}
	slices.Sort(list)
	return list
}
