package waf

import (
	"strings"
	"sync"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// The texts that stand before and after every rule text. No id of the range
// 150000 to 150009 and no TX variable with the prefix may stand in it.
const (
	prologueName = "bulwark-prologue"
	epilogueName = "bulwark-epilogue"
	ownIDs       = 150000
	ownIDsEnd    = 150009
	ownPrefix    = "bulwark_"

	txMode         = ownPrefix + "mode"
	txResponseBody = ownPrefix + "response_body"
	modeDetect     = "detect"
)

// prologue: the mode of the exchange; repeated names are told apart before any
// rule of phases 2 and 4 looks at them; a response body is looked at whose type
// the profile names and the rules do not.
const prologue = `SecIgnoreRuleCompilationErrors On
SecRule TX:` + txMode + ` "@streq ` + modeDetect + `" "id:150000,phase:1,pass,nolog,t:none,ctl:ruleEngine=DetectionOnly"
SecRule UNIQUE_ID "@bulwarkSeparate" "id:150001,phase:2,pass,nolog,t:none"
SecRule UNIQUE_ID "@bulwarkSeparate" "id:150002,phase:4,pass,nolog,t:none"
SecRule TX:` + txResponseBody + ` "@streq 1" "id:150003,phase:3,pass,nolog,t:none,ctl:forceResponseBodyVariable=On"
`

// epilogue: what no rule text may decide. Bodies are bounded before they come
// here, by each profile's own limits.
func epilogue(uploads string) string {
	return `SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 1073741824
SecRequestBodyInMemoryLimit 1073741824
SecRequestBodyLimitAction ProcessPartial
SecResponseBodyAccess On
SecResponseBodyLimit 1073741824
SecResponseBodyLimitAction ProcessPartial
SecUploadDir ` + uploads + `
SecUploadKeepFiles Off
SecIgnoreRuleCompilationErrors Off
SecDebugLogLevel 0
`
}

// register makes our operators and our processor of forms known to Coraza, whose
// registry is the process's.
var register = sync.OnceFunc(func() {
	registerOwn()
	registerReplaced()
})

// registerOwn registers what Coraza lacks, or has wrong.
func registerOwn() {
	plugins.RegisterOperator("bulwarkSeparate", func(plugintypes.OperatorOptions) (plugintypes.Operator, error) {
		return separator{}, nil
	})
	plugins.RegisterBodyProcessor("urlencoded", func() plugintypes.BodyProcessor { return formProcessor{} })
}

// separator is an operator that never matches. It gives each of several values
// of one name a name string of its own.
//
// Coraza remembers a transformed value by where its name's bytes lie and by its
// place among all values. Values of a repeated name share these bytes, and the
// places change since the names stand in a map: a rule is then shown one value
// in another's place, and misses an attack in it at random.
type separator struct{}

func (separator) Evaluate(tx plugintypes.TransactionState, _ string) bool {
	v := tx.Variables()
	separate(v.ArgsPost())
	separate(v.MultipartPartHeaders())
	separate(v.MultipartFilename())
	separate(v.ResponseArgs())
	return false
}

// sized is a collection that counts its names and its values.
type sized interface {
	Len() int
	TotalValues() int
}

// separate gives the values of repeated names names of their own.
func separate(m collection.Map) {
	if s, ok := m.(sized); ok && s.Len() == s.TotalValues() {
		return
	}
	type field struct{ name, value string }
	all := m.FindAll()
	count := make(map[string]int, len(all))
	for _, d := range all {
		count[strings.ToLower(d.Key())]++
	}
	repeated := make([]field, 0, len(all))
	for _, d := range all {
		if name := strings.ToLower(d.Key()); count[name] > 1 {
			repeated = append(repeated, field{d.Key(), d.Value()})
		}
	}
	for _, f := range repeated {
		m.Remove(f.name)
	}
	for _, f := range repeated {
		m.Add(ownName(f.name), f.value)
	}
}

// ownName returns a copy of name whose bytes are its own, even if there are none.
func ownName(name string) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte(0)
	return b.String()[:len(name)]
}
