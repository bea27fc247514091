package requesttransformer

import "github.com/bulwark-edge/bulwark/l7"

// trimTrailer lets no name that the rules remove or rename pass in the trailer.
func (r *rules) trimTrailer(x *l7.Exchange) {
	if len(r.remove)+len(r.rename) > 0 {
		x.WrapBody(func(b l7.RequestBody) l7.RequestBody { return &trimmedBody{RequestBody: b, rules: r} })
	}
}

func (r *rules) trim(trailer *l7.Header) {
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
	rules   *rules
	trimmed bool // the trailer was there, and was trimmed
}

var _ l7.WholeBody = (*trimmedBody)(nil)

// Trailer returns what is left of the trailer.
func (b *trimmedBody) Trailer() *l7.Header {
	t := b.RequestBody.Trailer()
	if !b.trimmed && t.Len() > 0 { // an empty one may be shared, and is not written to
		b.rules.trim(t)
		b.trimmed = true
	}
	return t
}

// Whole returns the content if it is all there, without a trailer.
func (b *trimmedBody) Whole() ([]byte, bool) {
	if w, ok := b.RequestBody.(l7.WholeBody); ok {
		return w.Whole()
	}
	return nil, false
}
