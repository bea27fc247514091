//go:build !race

package waf_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestRepeatedNamesAreInspectedAlike sends attacks beside other values of the
// same name. Coraza alone shows rules one value in another's place, at random:
// every run must find the same here, and deny.
func TestRepeatedNamesAreInspectedAlike(t *testing.T) {
	p := profile(t, coreRules(t), waf.Settings{Mode: waf.Block})
	payloads := []string{"1'+UNION+SELECT+password+FROM+users--+-", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "..%2F..%2F..%2Fetc%2Fpasswd"}
	more := "&b=1&c=2&d=3&e=4&f=5&g=6&h=7&i=8"
	requests := map[string]func(payload string) message{
		"query":          func(s string) message { return get("/?a=hello&a=" + s + "&a=there" + more) },
		"query, no name": func(s string) message { return get("/?=hello&=" + s + "&=there" + more) },
		"form":           func(s string) message { return post("/", form, "a=hello&a="+s+"&a=there"+more) },
		"form case":      func(s string) message { return post("/", form, "A=hello&a="+s+"&a=there"+more) },
		"no name":        func(s string) message { return post("/", form, "=hello&="+s+"&=there"+more) },
		"cookies": func(s string) message {
			return get("/", "Cookie", "a=hello; a="+s+"; a=there"+strings.ReplaceAll(more, "&", "; "))
		},
		"json": func(s string) message {
			s = strings.NewReplacer("+", " ", "%3C", "<", "%3E", ">", "%2F", "/").Replace(s)
			return post("/", "application/json", fmt.Sprintf(`{"a":"hello","a":%q,"a":"there","b":"1","c":"2","d":"3","e":"4"}`, s))
		},
	}
	runs := 60
	if testing.Short() {
		runs = 15
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			for _, payload := range payloads {
				if name == "cookies" && strings.HasPrefix(payload, "..") {
					continue // the rules look for other paths in cookies
				}
				req := request(payload)
				first := ""
				for range runs {
					v, e := inspect(p, req)
					if v.Action != waf.Deny {
						t.Fatalf("the payload %q passes", payload)
					}
					if found := summary(e); first == "" {
						first = found
					} else if found != first {
						t.Fatalf("the payload %q is found as\n%s, and as\n%s", payload, first, found)
					}
				}
			}
		})
	}
}
