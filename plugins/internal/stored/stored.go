// Package stored marks exchanges that are answered from a cache. What a cache
// stores has been transformed already; a plugin that runs before it must not do
// that again.
package stored

import "github.com/bulwark-edge/bulwark/l7"

// slot is the mark's place in every exchange.
var slot l7.Slot[bool]

// Mark marks x as answered from a cache.
func Mark(x *l7.Exchange) { slot.Set(x, true) }

// Is reports whether x is answered from a cache.
func Is(x *l7.Exchange) bool { return slot.Get(x) }
