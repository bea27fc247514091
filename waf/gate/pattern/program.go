package pattern

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"

	bytesyntax "rsc.io/binaryregexp/syntax"
)

// The kinds of instructions.
const (
	opFail   uint8 = iota
	opMatch        // the string matches
	opPass         // go on at out
	opFork         // go on at out and at arg
	opAssert       // go on at out if what arg wants is so here
	opRead         // read what reads holds, go on at out
)

// assertions are what an instruction may want of the place between two
// characters. They are those of both syntax packages.
type assertion = uint32

const (
	beginLine = assertion(syntax.EmptyBeginLine)
	endLine   = assertion(syntax.EmptyEndLine)
	beginText = assertion(syntax.EmptyBeginText)
	endText   = assertion(syntax.EmptyEndText)
	boundary  = assertion(syntax.EmptyWordBoundary)
	noBorder  = assertion(syntax.EmptyNoWordBoundary)

	ahead = endLine | endText | boundary | noBorder // wants to know what comes
	words = boundary | noBorder
)

// instruction is one of a program.
type instruction struct {
	op       uint8
	reads    uint16 // of opRead: the row of program.reads
	out, arg uint32
}

const (
	lookUp     = 0xff   // in program.first: the character decides
	maxClasses = 0xfe   // of characters; beyond, there is no program
	maxReads   = 0xffff // kinds of opRead
	maxCode    = 20000  // instructions; beyond, there is no program
)

// program is what an expression compiles to, over classes of characters that no
// instruction tells apart. It never changes.
type program struct {
	code  []instruction
	start uint32
	// reads tells for each kind of opRead which classes it reads.
	reads [][]bool

	first   [256]uint8 // class by a character's first byte, or lookUp
	bounds  []rune     // where runs of characters of one class begin, ascending
	runs    []uint8    // the classes of these runs
	classes uint8      // how many; as a class it stands for the end of the string
	kinds   []kind     // of each class

	asserted assertion // all that instructions want
}

// source is code of one of the syntax packages.
type source struct {
	code   []instruction
	start  int
	reads  []func(rune) bool // what each opRead reads, by its place in code
	key    []string          // equal keys read the same
	bounds []rune            // where what is read may change, in any order
	bytes  bool
}

// charactersOf takes over the code of an expression over characters.
func charactersOf(p *syntax.Prog) *source {
	s := newSource(len(p.Inst), p.Start)
	s.bounds = append(s.bounds, 0, utf8.RuneSelf)
	for n := range p.Inst {
		in := &p.Inst[n]
		s.take(n, uint8(in.Op), in.Out, in.Arg, in.Rune)
		if s.code[n].op == opRead {
			s.reads[n] = in.MatchRune
			s.boundsOf(in.Rune, syntax.Flags(in.Arg)&syntax.FoldCase != 0)
		}
	}
	return s
}

// parseBytes compiles an expression over bytes. Its package descends from
// regexp/syntax, and numbers operations as that does, which a test holds.
func parseBytes(expr string) (*source, error) {
	tree, err := bytesyntax.Parse(expr, bytesyntax.Perl)
	if err != nil {
		return nil, err
	}
	p, err := bytesyntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	s := newSource(len(p.Inst), p.Start)
	s.bytes = true
	for b := range rune(256) {
		s.bounds = append(s.bounds, b)
	}
	for n := range p.Inst {
		in := &p.Inst[n]
		s.take(n, uint8(in.Op), in.Out, in.Arg, in.Rune)
		if s.code[n].op == opRead {
			s.reads[n] = in.MatchRune
		}
	}
	return s, nil
}

func newSource(n, start int) *source {
	return &source{code: make([]instruction, n), start: start, reads: make([]func(rune) bool, n), key: make([]string, n)}
}

// take takes an instruction over.
func (s *source) take(n int, op uint8, out, arg uint32, runes []rune) {
	in := instruction{out: out, arg: arg}
	switch syntax.InstOp(op) {
	case syntax.InstAlt, syntax.InstAltMatch:
		in.op = opFork
	case syntax.InstCapture, syntax.InstNop:
		in.op = opPass
	case syntax.InstEmptyWidth:
		in.op = opAssert
	case syntax.InstMatch:
		in.op = opMatch
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		in.op = opRead
		in.arg = 0
		key := binary.LittleEndian.AppendUint32(nil, 0)
		if len(runes) == 1 {
			key = binary.LittleEndian.AppendUint32(nil, arg) // the flag that folds
		}
		for _, r := range runes {
			key = binary.LittleEndian.AppendUint32(key, uint32(r))
		}
		s.key[n] = string(key)
	}
	s.code[n] = in
}

// boundsOf notes where what an instruction reads begins and ends.
func (s *source) boundsOf(runes []rune, fold bool) {
	if len(runes) == 1 {
		r := runes[0]
		s.bounds = append(s.bounds, r, r+1)
		for f := unicode.SimpleFold(r); fold && f != r; f = unicode.SimpleFold(f) {
			s.bounds = append(s.bounds, f, f+1)
		}
		return
	}
	for i := 0; i+1 < len(runes); i += 2 {
		s.bounds = append(s.bounds, runes[i], runes[i+1]+1)
	}
}

// newProgram finds the classes of the code. It returns nil if there are too many
// of them, or too much code.
func newProgram(s *source) *program {
	if len(s.code) > maxCode {
		return nil
	}
	g := &program{code: s.code, start: uint32(s.start)}
	var reads []func(rune) bool
	kinds := map[string]uint16{}
	for n := range g.code {
		switch in := &g.code[n]; in.op {
		case opRead:
			kind, ok := kinds[s.key[n]]
			if !ok {
				if len(reads) == maxReads {
					return nil
				}
				kind = uint16(len(reads))
				kinds[s.key[n]] = kind
				reads = append(reads, s.reads[n])
			}
			in.reads = kind
		case opAssert:
			g.asserted |= in.arg
		}
	}
	bounds := s.bounds
	if g.asserted&(beginLine|endLine) != 0 {
		bounds = append(bounds, '\n', '\n'+1)
	}
	if g.asserted&words != 0 {
		bounds = append(bounds, '0', '9'+1, 'A', 'Z'+1, '_', '_'+1, 'a', 'z'+1)
	}
	slices.Sort(bounds)
	if !g.classify(slices.Compact(bounds), reads) {
		return nil
	}
	for b := range g.first {
		g.first[b] = lookUp
		if s.bytes || b < utf8.RuneSelf {
			g.first[b] = g.classOf(rune(b))
		}
	}
	return g
}

// classify makes classes of the runs of characters between bounds, the first of
// which is 0. It reports false if there are too many classes.
func (g *program) classify(bounds []rune, reads []func(rune) bool) bool {
	classes := map[string]uint8{}
	g.reads = make([][]bool, len(reads))
	signature := make([]byte, len(reads)+1)
	for _, r := range bounds {
		if r > unicode.MaxRune {
			break
		}
		for n, read := range reads {
			signature[n] = 0
			if read(r) {
				signature[n] = 1
			}
		}
		signature[len(reads)] = byte(g.kindOf(r))
		class, ok := classes[string(signature)]
		if !ok {
			if len(classes) == maxClasses {
				return false
			}
			class = uint8(len(classes))
			classes[string(signature)] = class
			g.kinds = append(g.kinds, g.kindOf(r))
			for n := range reads {
				g.reads[n] = append(g.reads[n], signature[n] == 1)
			}
		}
		if n := len(g.runs); n == 0 || g.runs[n-1] != class {
			g.bounds, g.runs = append(g.bounds, r), append(g.runs, class)
		}
	}
	g.bounds, g.runs = slices.Clip(g.bounds), slices.Clip(g.runs)
	g.classes = uint8(len(classes))
	return true
}

// kindOf returns the kind of a character, as far as it matters here.
func (g *program) kindOf(r rune) kind {
	switch {
	case r == '\n' && g.asserted&(beginLine|endLine) != 0:
		return newline
	case syntax.IsWordChar(r) && g.asserted&words != 0:
		return word
	}
	return other
}

// classOf returns the class of a character.
func (g *program) classOf(r rune) uint8 {
	n, found := slices.BinarySearch(g.bounds, r)
	if !found {
		n--
	}
	return g.runs[n]
}
