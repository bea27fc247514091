package config

import (
	"encoding/json"
	"sync/atomic"
)

// LogText is an entity as JSON, made when it is first asked for and then kept:
// with thousands of routes, of which a few see traffic, making it beforehand
// was most of the time and a third of the memory of a snapshot. The zero value
// is ready, by any number of goroutines.
type LogText struct{ made atomic.Pointer[[]byte] }

// Of returns the text of entity, which is the same one in every call. It is not
// to be changed.
func (t *LogText) Of(entity json.Marshaler) []byte {
	if b := t.made.Load(); b != nil {
		return *b
	}
	b, err := entity.MarshalJSON()
	if err != nil {
		b = []byte("null") // a value that was decoded can be encoded
	}
	t.made.Store(&b)
	return b
}
