package pattern

// kind is what assertions tell apart of a character.
type kind uint8

const (
	other   kind = iota
	newline      // '\n'
	word         // [0-9A-Za-z_]
	nothing      // none: the string begins or ends here
)

// flags are the assertions that hold behind a character, as far as they do not
// look ahead.
func (k kind) flags() assertion {
	switch k {
	case newline:
		return beginLine
	case nothing:
		return beginLine | beginText
	}
	return 0
}

// between are the assertions that hold between two characters because of the
// second.
func between(before, after kind) assertion {
	var a assertion
	switch after {
	case newline:
		a = endLine
	case nothing:
		a = endLine | endText
	}
	if (before == word) != (after == word) {
		return a | boundary
	}
	return a | noBorder
}
