package h2

import (
	"io"
	"sync"

	"golang.org/x/net/http2"
)

// parser reads frames that have come whole. It is lent to connections while they
// are busy.
type parser struct {
	framer *http2.Framer
	in     []byte
}

var parsers = sync.Pool{New: func() any {
	p := new(parser)
	p.framer = http2.NewFramer(io.Discard, p)
	p.framer.SetReuseFrames()
	p.framer.SetMaxReadFrameSize(maxFrame)
	return p
}}

// Read gives the framer the bytes of the frame.
func (p *parser) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

// parse returns the frame that b is.
func (p *parser) parse(b []byte) (http2.Frame, error) {
	p.in = b
	f, err := p.framer.ReadFrame()
	p.in = nil
	return f, err
}

// put gives the parser back. It must not be within a header block.
func (p *parser) put() { parsers.Put(p) }
