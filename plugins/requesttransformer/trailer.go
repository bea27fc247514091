package requesttransformer

import "github.com/bulwark-edge/bulwark/l7"

// trimTrailer lets no name that the rules remove or rename pass in the trailer.
func (r *rules) trimTrailer(x *l7.Exchange) {
	switch {
	case x.Req.Body == nil || len(r.remove)+len(r.rename) == 0:
	case x.Body() != nil: // it was read, and must stay what x.Body knows it by
		r.trim(x.Req.Body.Trailer())
	default:
		x.Req.Body = &trimmedBody{x.Req.Body, r}
	}
}

func (r *rules) trim(trailer *l7.Header) {
	if trailer.Len() == 0 {
		return // one that is shared is not written to
	}
	for _, name := range r.remove {
		trailer.Del(name)
	}
	for i := range r.rename {
		trailer.Del(r.rename[i].Name)
	}
}

// trimmedBody is content whose trailer is trimmed.
type trimmedBody struct {
	l7.RequestBody
	rules *rules
}

var _ l7.WholeBody = (*trimmedBody)(nil)

// Trailer returns what is left of the trailer.
func (b *trimmedBody) Trailer() *l7.Header {
	t := b.RequestBody.Trailer()
	b.rules.trim(t)
	return t
}

// Whole returns the content if it is all there, without a trailer.
func (b *trimmedBody) Whole() ([]byte, bool) {
	if w, ok := b.RequestBody.(l7.WholeBody); ok {
		return w.Whole()
	}
	return nil, false
}
