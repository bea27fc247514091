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
		Name   string `json:"name"`
		secret string
	}
	typ := Of[hidden]()
	if typ.Equal(&hidden{"a", "b"}, &hidden{"a", "c"}) || !typ.Equal(&hidden{"a", "b"}, &hidden{"a", "b"}) {
		t.Error("what is not exported was not compared")
	}
}
