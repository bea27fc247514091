package responsetransformer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
)

var _ l7.BodyFilter = (*filter)(nil)

// filter gathers the content of one answer and writes it edited.
type filter struct {
	rules *rules
	block *buf.Block // nil until content comes
	n     int
	held  *atomic.Int64 // bytes of the process; nil: this content is not counted
	cost  int64         // of held, what this content takes
}

var (
	errTooLong = fmt.Errorf("editing JSON: the content is longer than %d bytes", maxContent)
	errNoRoom  = fmt.Errorf("editing JSON: the content of all answers takes %d bytes", maxHeldBytes)
)

// Write gathers content.
func (f *filter) Write(_ io.Writer, p []byte) error {
	need := f.n + len(p)
	switch {
	case need > maxContent:
		return refuse(errTooLong)
	case f.block == nil:
		if err := f.grow(need); err != nil {
			return err
		}
	case need > len(f.block.B):
		if err := f.grow(max(need, min(2*len(f.block.B), maxContent))); err != nil {
			return err
		}
	}
	f.n += copy(f.block.B[f.n:], p)
	return nil
}

// grow moves what was gathered to a block of at least size bytes.
func (f *filter) grow(size int) error {
	if !f.reserve(int64(size)) {
		return refuse(errNoRoom)
	}
	b := buf.Get(size)
	f.count(int64(len(b.B) - size))
	if f.block != nil {
		copy(b.B, f.block.B[:f.n])
		f.dropBlock()
	}
	f.block = b
	return nil
}

// reserve counts n bytes in, unless they are more than the content of all
// answers may take.
func (f *filter) reserve(n int64) bool {
	f.count(n)
	if f.held != nil && f.held.Load() > maxHeldBytes {
		f.count(-n)
		return false
	}
	return true
}

func (f *filter) count(n int64) {
	if f.held != nil {
		f.held.Add(n)
		f.cost += n
	}
}

// dropBlock gives the block back.
func (f *filter) dropBlock() {
	if f.block != nil {
		f.count(-int64(len(f.block.B)))
		f.block.Put()
		f.block = nil
	}
}

// Flush does nothing: the content is not complete.
func (f *filter) Flush(io.Writer) error { return nil }

// Close writes the edited content.
func (f *filter) Close(next io.Writer) error {
	defer f.Abort()
	if f.n == 0 {
		return nil
	}
	content := f.block.B[:f.n]
	o, err := edit.ParseObject(content)
	if err != nil {
		return refuse(err)
	}
	if o != nil {
		f.rules.apply(o)
		if !f.reserve(int64(f.n)) {
			return refuse(errNoRoom)
		}
		content = o.AppendTo(make([]byte, 0, f.n))
		if !f.reserve(int64(cap(content) - f.n)) {
			return refuse(errNoRoom)
		}
		f.dropBlock() // the copy is what is written
	}
	_, err = next.Write(content)
	return err
}

// Abort gives the storage back.
func (f *filter) Abort() {
	f.dropBlock()
	f.count(-f.cost)
	f.n = 0
}

// refuse is content that cannot be edited, and therefore does not pass.
func refuse(err error) error {
	reason, side := l7.ReasonUpstreamProtocol, l7.SideUpstream
	switch {
	case errors.Is(err, errTooLong):
		reason = l7.ReasonOverLimit
	case errors.Is(err, errNoRoom):
		reason, side = l7.ReasonOverLimit, l7.SideSelf
	}
	return &l7.Error{Status: http.StatusBadGateway, Message: invalidText, Reason: reason, Side: side, Err: err}
}

// apply applies the rules in Kong's order.
func (r *rules) apply(o *edit.Object) {
	for _, name := range r.remove {
		o.Remove(name)
	}
	for _, p := range r.rename {
		o.Rename(p.Name, p.Value)
	}
	for _, m := range r.replace {
		if o.Has(m.name) {
			o.Set(m.name, m.value)
		}
	}
	for _, m := range r.add {
		if !o.Has(m.name) {
			o.Set(m.name, m.value)
		}
	}
	for _, m := range r.append {
		o.Append(m.name, m.value)
	}
}
