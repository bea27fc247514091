package plugins

import "testing"

func TestState(t *testing.T) {
	var s State
	built := 0
	build := func() any { built++; return &built }
	a, b := s.Value("cache one", build), s.Value("cache one", build)
	if a != b || built != 1 {
		t.Errorf("one key was built %d times", built)
	}
	s.Value("cache two", build)
	if built != 2 {
		t.Errorf("two keys were built %d times", built)
	}
}
