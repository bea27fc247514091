package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseObject(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", `{}`, `{}`},
		{"white space", " { } ", `{}`},
		{"bytes are kept", `{"a" : 1.50e3 , "b":{"c" : [1, "}"]}}`, `{"a":1.50e3,"b":{"c" : [1, "}"]}}`},
		{"large number", `{"n":12345678901234567890123}`, `{"n":12345678901234567890123}`},
		{"the last of a name counts", `{"a":1,"b":2,"a":3}`, `{"b":2,"a":3}`},
		{"the last of a name, escaped", `{"a":1,"\u0061":3}`, `{"a":3}`},
		{"strings with quotes", `{"a\"b":"c\\","d":"\"}"}`, `{"a\"b":"c\\","d":"\"}"}`},
		{"empty name", `{"":1}`, `{"":1}`},
		{"null, true, false", `{"a":null,"b":true,"c":false}`, `{"a":null,"b":true,"c":false}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseObject([]byte(tt.text))
			if err != nil || o == nil {
				t.Fatalf("ParseObject(%s) = %v, %v", tt.text, o, err)
			}
			if got := string(o.AppendTo(nil)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	for _, text := range []string{``, ` `, `{`, `{"a"}`, `{"a":1}x`, `{"a":01}`, `{'a':1}`, `{"a":1,}`} {
		if _, err := ParseObject([]byte(text)); !errors.Is(err, ErrJSON) {
			t.Errorf("ParseObject(%q): error %v, want %v", text, err, ErrJSON)
		}
	}
	for _, text := range []string{`[]`, `"{}"`, `1`, ` null`} {
		if o, err := ParseObject([]byte(text)); o != nil || err != nil {
			t.Errorf("ParseObject(%q) = %v, %v, want no object", text, o, err)
		}
	}
}

func TestEditObject(t *testing.T) {
	const text = `{"a":1,"b":"x","c":[1],"d":[ ],"e":null}`
	tests := []struct {
		name string
		edit func(o *Object)
		want string
	}{
		{"remove", func(o *Object) { o.Remove("a"); o.Remove("z") }, `{"b":"x","c":[1],"d":[ ],"e":null}`},
		{"rename", func(o *Object) { o.Rename("b", "z") }, `{"a":1,"z":"x","c":[1],"d":[ ],"e":null}`},
		{"rename over another", func(o *Object) { o.Rename("b", "a") }, `{"a":"x","c":[1],"d":[ ],"e":null}`},
		{"rename to itself", func(o *Object) { o.Rename("b", "b") }, text},
		{"rename what is not there", func(o *Object) { o.Rename("z", "a") }, text},
		{"rename and set", func(o *Object) { o.Rename("a", "z"); o.Set("z", []byte("2")); o.Set("a", []byte("3")) }, `{"z":2,"b":"x","c":[1],"d":[ ],"e":null,"a":3}`},
		{"append to a number", func(o *Object) { o.Append("a", []byte("2")) }, `{"a":[2],"b":"x","c":[1],"d":[ ],"e":null}`},
		{"append to a string", func(o *Object) { o.Append("b", []byte(`"y"`)) }, `{"a":1,"b":["x","y"],"c":[1],"d":[ ],"e":null}`},
		{"append to an array", func(o *Object) { o.Append("c", []byte("2")) }, `{"a":1,"b":"x","c":[1,2],"d":[ ],"e":null}`},
		{"append to an empty array", func(o *Object) { o.Append("d", []byte("2")) }, `{"a":1,"b":"x","c":[1],"d":[2],"e":null}`},
		{"append to null", func(o *Object) { o.Append("e", []byte("2")) }, `{"a":1,"b":"x","c":[1],"d":[ ],"e":[2]}`},
		{"append to nothing", func(o *Object) { o.Append("f", []byte("2")) }, `{"a":1,"b":"x","c":[1],"d":[ ],"e":null,"f":[2]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := ParseObject([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(o)
			if got := string(o.AppendTo(nil)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestString(t *testing.T) {
	for _, s := range []string{"", "a", `"\`, "<&>", "\x00\n", "é\xff"} {
		var back string
		if err := json.Unmarshal(String(s), &back); err != nil {
			t.Fatalf("String(%q) = %s: %v", s, String(s), err)
		}
		if want := string(bytes.ToValidUTF8([]byte(s), []byte("\ufffd"))); back != want {
			t.Errorf("String(%q) reads as %q", s, back)
		}
	}
}

// FuzzParseObject holds the splitting of objects against encoding/json.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"b":[{"c":"}"}],"a":null}`, `{"a\"":"\\"}`, `[1]`, `{"a":1`, ` {"\u0061" : -1e+5 , "b" : "" } `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := ParseObject(text)
		if (err == nil) != json.Valid(text) {
			t.Fatalf("ParseObject(%q): %v", text, err)
		}
		if o == nil {
			return
		}
		got := o.AppendTo(nil)
		var a, b map[string]any
		if err := json.Unmarshal(text, &a); err != nil {
			return // a number that a float64 cannot hold
		}
		if err := json.Unmarshal(got, &b); err != nil {
			t.Fatalf("ParseObject(%q) gives %q: %v", text, got, err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("ParseObject(%q) gives %q (-want +got):\n%s", text, got, diff)
		}
	})
}
