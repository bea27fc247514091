package waf

import (
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"

	"github.com/bulwark-edge/bulwark/waf/gate/pattern"
)

// statesMemory is how many bytes the states of all patterns of all engines
// take; beyond, they are made anew.
const statesMemory = 6 << 20

// registerReplaced replaces operators of Coraza by ours, whose verdicts and
// captures are the same, for all engines that are compiled from now on.
func registerReplaced() {
	memory := pattern.NewMemory(statesMemory)
	plugins.RegisterOperator("rx", func(o plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		return newRx(o, memory)
	})
}

var _ plugintypes.Operator = rx{}

// rx is the operator @rx. Coraza's own runs package regexp on each value; ours
// does so only on those that match, when the rule wants to know where.
type rx struct{ pattern *pattern.Pattern }

// newRx compiles the operator's argument as Coraza does: over characters, where
// "." takes line ends too, and "^" and "$" hold at each line; or over bytes,
// without these, if it names bytes that are no UTF-8.
func newRx(o plugintypes.OperatorOptions, memory *pattern.Memory) (plugintypes.Operator, error) {
	expr, compile := "(?sm)"+o.Arguments, pattern.Compile
	if pattern.Bytes(expr) {
		expr, compile = o.Arguments, pattern.CompileBytes
	}
	made := func() (any, error) { return compile(expr, memory) }
	if o.Memoizer == nil {
		p, err := compile(expr, memory)
		return rx{p}, err
	}
	// An expression over characters begins with (?sm), and so is never taken for
	// one over bytes that reads the same: that one would have to be both.
	p, err := o.Memoizer.Do("bulwark rx: "+expr, made)
	if err != nil {
		return nil, err
	}
	return rx{p.(*pattern.Pattern)}, nil
}

// maxCaptures are the groups that rules see as TX:0 to TX:8, the whole match
// among them.
const maxCaptures = 9

// Evaluate reports whether the value matches, and captures its groups where the
// rule asks for them.
func (o rx) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if !tx.Capturing() {
		return o.pattern.MatchString(value)
	}
	groups := o.pattern.FindStringSubmatchIndex(value)
	if groups == nil {
		return false
	}
	for n := 0; n < len(groups)/2 && n < maxCaptures; n++ {
		text := ""
		if groups[2*n] >= 0 {
			text = value[groups[2*n]:groups[2*n+1]]
		}
		tx.CaptureField(n, text)
	}
	return true
}
