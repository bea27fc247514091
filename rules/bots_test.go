package rules

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBots(t *testing.T) {
	b := LoadBots()
	if _, err := time.Parse(time.DateOnly, b.Version); err != nil {
		t.Errorf("version: %v", err)
	}
	if len(b.Names) < 200 || len(b.Endings) < 5 || len(b.Exceptions) == 0 {
		t.Errorf("%d names, %d endings, %d exceptions", len(b.Names), len(b.Endings), len(b.Exceptions))
	}
	for _, list := range [][]string{b.Names, b.Endings, b.Exceptions} {
		if !slices.IsSorted(list) {
			t.Error("a section is not sorted")
		}
		for i, s := range list {
			if s != strings.ToLower(s) || len(s) < 3 || i > 0 && s == list[i-1] {
				t.Errorf("%q is not in lower case, too short to mean anything, or stands twice", s)
			}
		}
	}
	for _, word := range b.Exceptions {
		if !slices.ContainsFunc(b.Endings, func(e string) bool { return strings.HasSuffix(word, e) }) {
			t.Errorf("the exception %q has none of the endings", word)
		}
	}
	for _, name := range b.Names {
		last := name[len(name)-1]
		letter := 'a' <= last && last <= 'z'
		if letter && slices.ContainsFunc(b.Endings, func(e string) bool { return strings.HasSuffix(name, e) }) {
			t.Errorf("the name %q is covered by an ending", name)
		}
	}
}
