package schema

import (
	"reflect"
	"testing"
)

type equalConfig struct {
	ID      ID                  `json:"id"`
	Name    string              `json:"name"`
	On      bool                `json:"on"`
	Number  int                 `json:"number"`
	Part    float64             `json:"part"`
	List    []string            `json:"list" default:"[a, b]"`
	Deep    []Prefix            `json:"deep"`
	Map     map[string][]string `json:"map"`
	Pointer *int                `json:"pointer"`
	Secret  Secret              `json:"secret"`
	Size    Size                `json:"size"`
	Inner   struct {
		A string `json:"a"`
	} `json:"inner"`
}

// TestEqual compares every two of some documents, and Equal with DeepEqual.
func TestEqual(t *testing.T) {
	typ := Of[equalConfig]()
	docs := []string{
		"{}", "id: 0f0b7b1c-4a58-4a2c-9a5b-5a5ddc0c8f01", "id: 0f0b7b1c-4a58-4a2c-9a5b-5a5ddc0c8f02", "name: a", "name: b", "on: true",
		"number: 1", "part: 0.5", "list: []", "list: [a]", "list: [a, c]", "deep: [10.0.0.0/8]", "deep: [10.0.0.0/9]",
		"map: {}", "map: {a: [b]}", "map: {a: [c]}", "pointer: 1", "pointer: 2", "secret: a", "secret: b", "size: 1", "inner: {a: b}",
	}
	decode := func(doc string) any {
		v, err := typ.DecodeBytes([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i, one := range docs {
		for j, other := range docs {
			a, b := decode(one), decode(other)
			if got, want := typ.Equal(a, b), reflect.DeepEqual(a, b); got != want || got != (i == j) {
				t.Errorf("%q and %q: equal %t, DeepEqual says %t", one, other, got, want)
			}
		}
	}
}

func TestEqualHidden(t *testing.T) {
	type hidden struct {
		Name    string `json:"name"`
		secret  string
		follows string `derived:"true"`
	}
	typ := Of[hidden]()
	a := hidden{"a", "b", "c"}
	for _, tt := range []struct {
		name string
		b    hidden
		want bool
	}{
		{"the same", hidden{"a", "b", "c"}, true},
		{"another name", hidden{"b", "b", "c"}, false},
		{"another secret", hidden{"a", "c", "c"}, false},
		{"no secret", hidden{"a", "", "c"}, false},
		{"another derived field", hidden{"a", "b", "d"}, true},
	} {
		if got := typ.Equal(&a, &tt.b); got != tt.want {
			t.Errorf("%s: equal %t", tt.name, got)
		}
	}
}

// TestEqualKinds compares what the other tests have no kind of.
func TestEqualKinds(t *testing.T) {
	type part struct {
		Words map[string][]string `json:"words"`
		small uint8
	}
	type all struct {
		Any   any    `json:"-"`
		Parts []part `json:"-"`
		refs  map[string]string
	}
	values := []all{
		{},
		{Any: 1},
		{Any: []int{1}},
		{Parts: []part{}},
		{Parts: []part{{}}},
		{Parts: []part{{small: 1}}},
		{Parts: []part{{Words: map[string][]string{}}}},
		{Parts: []part{{Words: map[string][]string{"a": nil}}}},
		{Parts: []part{{Words: map[string][]string{"a": {}}}}},
		{Parts: []part{{Words: map[string][]string{"b": {}}}}},
		{refs: map[string]string{}},
		{refs: map[string]string{"a": "b"}},
		{refs: map[string]string{"a": "c"}},
		{refs: map[string]string{"b": "b"}},
	}
	typ := Of[all]()
	for i := range values {
		for j := range values {
			if got, want := typ.Equal(&values[i], &values[j]), reflect.DeepEqual(values[i], values[j]); got != want {
				t.Errorf("%+v and %+v: equal %t, DeepEqual says %t", values[i], values[j], got, want)
			}
		}
	}
}

func TestEqualPanics(t *testing.T) {
	type odd struct {
		text string `derived:"true"`
		any  any
	}
	defer func() {
		if recover() == nil {
			t.Error("a type was described that cannot be compared")
		}
	}()
	Of[odd]()
	_ = odd{"", nil}
}
