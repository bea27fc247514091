package requesttransformer

import (
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins/internal/edit"
	"github.com/bulwark-edge/bulwark/telemetry"
)

// fields are the header fields the upstream is sent. Host does not stand among them:
// it can be replaced, and nothing else.
type fields struct {
	x       *l7.Exchange
	header  *l7.Header
	refused *telemetry.Counter
}

var _ subject = (*fields)(nil)

func (h *fields) has(name string) bool {
	if isHost(name) {
		return true
	}
	_, ok := h.header.Get(name)
	return ok
}

func (h *fields) remove(name string) { h.header.Del(name) }

// rename gives the fields of a name another one; those that have it are
// replaced.
func (h *fields) rename(name, to string) {
	if isHost(name) || isHost(to) {
		return
	}
	edit.RenameField(h.header, name, to)
}

// replace leaves one field of that name. A value that may not stand in a field
// leaves none: what the client sent must not pass for what was configured.
func (h *fields) replace(name, value string) {
	if isHost(name) {
		if validHost(value) {
			h.x.Upstream.Host = value
		} else {
			h.refused.Inc()
		}
		return
	}
	if !h.header.Set(name, value) {
		h.header.Del(name)
		h.refused.Inc()
	}
}

func (h *fields) add(name, value string) {
	if !h.header.Add(name, value) {
		h.refused.Inc()
	}
}

// append adds a further field.
func (h *fields) append(name, value string) {
	if !isHost(name) {
		h.add(name, value)
	}
}

func isHost(name string) bool { return strings.EqualFold(name, "host") }

// validHost reports whether a value may stand in Host: host[:port] in the bytes
// that names and addresses are made of.
func validHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isWordByte(c) && strings.IndexByte(".-:[]", c) < 0 {
			return false
		}
	}
	return s != ""
}
