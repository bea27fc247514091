package waf

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestCompleteJSON cuts a document everywhere outside of literals: what is ended
// there is JSON again.
func TestCompleteJSON(t *testing.T) {
	doc := `{"a":["x","y\\\"z",{"b":{"c":"d"},"e":""}],"f":"g"}`
	for n := 1; n <= len(doc); n++ {
		if doc[n-1] == ',' {
			continue // a comma with nothing after it
		}
		cut := []byte(doc[:n])
		if out := completeJSON(bytes.Clone(cut)); !json.Valid(out) {
			t.Errorf("%s is made %s", cut, out)
		}
	}
}

func TestCompleteXML(t *testing.T) {
	for in, want := range map[string]string{
		`<a b="x>y`:          `<a b="x>y">`,
		`<a b='x"`:           `<a b='x"'>`,
		`<a b="x"`:           `<a b="x">`,
		`<a b="x">y`:         `<a b="x">y`,
		`<a><![CDATA[x <b`:   `<a><![CDATA[x <b]]>`,
		`<![CDATA[x]]><a b=`: `<![CDATA[x]]><a b=>`,
	} {
		if out := completeXML([]byte(in)); string(out) != want {
			t.Errorf("%s is made %s, want %s", in, out, want)
		}
	}
}

// FuzzComplete holds the end of what is cut to its promises: the beginning stays,
// and what is JSON stays as it is.
func FuzzComplete(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b`, `]]}"\\`, `<a b="`, `<![CDATA[x`, `{"a":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		for _, p := range []Processor{JSON, XML, Multipart, Raw} {
			out := completed(p, "multipart/form-data; boundary=b", b)
			if !bytes.Equal(b, before) || !bytes.HasPrefix(out, b[:max(0, len(b)-1)]) {
				t.Errorf("%s: %q is made %q", p, before, out)
			}
		}
		if json.Valid(b) && !bytes.Equal(completed(JSON, "", b), b) {
			t.Errorf("%q is JSON, and changed", b)
		}
	})
}
