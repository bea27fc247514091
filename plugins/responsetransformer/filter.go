package responsetransformer

import (
	"errors"
	"fmt"
	"io"
	"net/http"

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
}

var errTooLong = fmt.Errorf("editing JSON: the content is longer than %d bytes", maxContent)

// Write gathers content.
func (f *filter) Write(_ io.Writer, p []byte) error {
	need := f.n + len(p)
	switch {
	case need > maxContent:
		return refuse(errTooLong)
	case f.block == nil:
		f.block = buf.Get(need)
	case need > len(f.block.B):
		f.block = f.block.Grow(f.n, max(need, min(2*len(f.block.B), maxContent)))
	}
	f.n += copy(f.block.B[f.n:], p)
	return nil
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
		content = o.AppendTo(nil)
	}
	_, err = next.Write(content)
	return err
}

// Abort gives the storage back.
func (f *filter) Abort() {
	f.block.Put()
	f.block, f.n = nil, 0
}

// refuse is content that cannot be edited, and therefore does not pass.
func refuse(err error) error {
	reason := l7.ReasonUpstreamProtocol
	if errors.Is(err, errTooLong) {
		reason = l7.ReasonOverLimit
	}
	return &l7.Error{Status: http.StatusBadGateway, Message: "An invalid response was received from the upstream server", Reason: reason, Side: l7.SideUpstream, Err: err}
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
