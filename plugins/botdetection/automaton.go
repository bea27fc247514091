package botdetection

import (
	"strings"

	"github.com/bulwark-edge/bulwark/rules"
)

// automaton finds the names and endings of the built-in list in a text, in one
// pass over its bytes (Aho and Corasick's construction, made deterministic). It
// is immutable.
type automaton struct {
	class      [256]uint8 // of a byte; letters without regard to case
	width      int        // number of classes
	next       []uint16   // state*width + class
	found      [][]hit    // by state: what ends there
	exceptions []string
}

// hit is a text of the list that ends in a state.
type hit struct {
	size   int
	ending bool // the end of a word, which may begin anywhere before
}

// maxStates is what fits a state's number; the list has a few thousand.
const maxStates = 1 << 16

func newAutomaton(list *rules.Bots) *automaton {
	a := &automaton{exceptions: list.Exceptions}
	a.classify(list)
	a.grow(1)
	for _, name := range list.Names {
		a.add(name, false)
	}
	for _, end := range list.Endings {
		a.add(end, true)
	}
	a.link()
	return a
}

// classify gives each byte that the list uses a class of its own; all others
// share class 0.
func (a *automaton) classify(list *rules.Bots) {
	a.width = 1
	for _, texts := range [][]string{list.Names, list.Endings} {
		for _, s := range texts {
			for i := range len(s) {
				if a.class[s[i]] == 0 {
					a.class[s[i]] = uint8(a.width)
					a.width++
				}
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
}

func (a *automaton) grow(states int) {
	for len(a.found) < states {
		a.next = append(a.next, make([]uint16, a.width)...)
		a.found = append(a.found, nil)
	}
}

// add puts a text into the tree that becomes the automaton.
func (a *automaton) add(text string, ending bool) {
	state := 0
	for i := range len(text) {
		at := state*a.width + int(a.class[text[i]])
		if a.next[at] == 0 {
			if len(a.found) == maxStates {
				panic("BUG: the list of bots is too long for its automaton")
			}
			a.grow(len(a.found) + 1)
			a.next[at] = uint16(len(a.found) - 1)
		}
		state = int(a.next[at])
	}
	a.found[state] = append(a.found[state], hit{len(text), ending})
}

// link completes the tree, level by level: where it has no branch, the state is
// that of the longest suffix which begins a text.
func (a *automaton) link() {
	suffix := make([]uint16, len(a.found))
	queue := make([]int, 0, len(a.found))
	for c := range a.width {
		if s := a.next[c]; s != 0 {
			queue = append(queue, int(s))
		}
	}
	for i := 0; i < len(queue); i++ {
		state := queue[i]
		back := int(suffix[state])
		a.found[state] = append(a.found[state], a.found[back]...)
		for c := range a.width {
			at := state*a.width + c
			if s := a.next[at]; s != 0 {
				suffix[s] = a.next[back*a.width+c]
				queue = append(queue, int(s))
			} else {
				a.next[at] = a.next[back*a.width+c]
			}
		}
	}
}

// match reports whether text is a bot's User-Agent.
func (a *automaton) match(text string) bool {
	state := 0
	for i := range len(text) {
		state = int(a.next[state*a.width+int(a.class[text[i]])])
		for _, h := range a.found[state] {
			if a.holds(text, i+1, h) {
				return true
			}
		}
	}
	return false
}

// holds reports whether a hit whose last byte stands before end is one: names
// stand between bytes that are no letters or digits, and so do endings on their
// right; digits may follow both.
func (a *automaton) holds(text string, end int, h hit) bool {
	start := end - h.size
	if end < len(text) && isLetter(text[end-1]) && isLetter(text[end]) {
		return false
	}
	if !h.ending {
		return start == 0 || !isWord(text[start-1]) || !isWord(text[start])
	}
	for start > 0 && isWord(text[start-1]) {
		start--
	}
	return !a.isException(text[start:end])
}

func (a *automaton) isException(word string) bool {
	for _, e := range a.exceptions {
		if len(e) == len(word) && strings.EqualFold(e, word) {
			return true
		}
	}
	return false
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isWord(c byte) bool { return isLetter(c) || '0' <= c && c <= '9' }
