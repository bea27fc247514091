package compression

import (
	"strings"

	"github.com/bulwark-edge/bulwark/l7"
)

// acceptEncoding is the name of the client's field.
const acceptEncoding = "Accept-Encoding"

// coding is a content coding, an index into the names.
type coding uint8

const (
	codingZstd coding = iota
	codingBr
	codingGzip
	codings

	codingNone = codings
)

// codingNames are the names as they stand in messages.
var codingNames = [codings]string{codingZstd: "zstd", codingBr: "br", codingGzip: "gzip"}

// weights are what a client thinks of each coding, in thousandths; -1 for what
// it does not name.
type weights struct {
	codings  [codings]int
	identity int
	any      int // "*"
}

// choose returns the coding for a client: the one with the highest weight, and
// among equals the one that order has first. It is codingNone if the client
// names none, or likes identity better than all of them.
func choose(h *l7.Header, order []coding) coding {
	w := weights{codings: [codings]int{-1, -1, -1}, identity: -1, any: -1}
	for _, f := range h.Fields() {
		if f.ID == l7.FieldOther && len(f.Name) == len(acceptEncoding) && strings.EqualFold(f.Name, acceptEncoding) {
			w.read(f.Value)
		}
	}
	best, most := codingNone, max(w.identity, 0)
	for _, c := range order {
		q := w.codings[c]
		if q < 0 {
			q = w.any
		}
		if q > 0 && (q > most || q == most && best == codingNone) {
			best, most = c, q
		}
	}
	return best
}

// read reads the elements of a field (RFC 9110 section 12.5.3). An element that
// cannot be read is passed over; of several for one coding the first counts.
func (w *weights) read(list string) {
	for list != "" {
		var element string
		element, list, _ = strings.Cut(list, ",")
		name, params, _ := strings.Cut(element, ";")
		var to *int
		switch name = strings.Trim(name, " \t"); {
		case strings.EqualFold(name, "zstd"):
			to = &w.codings[codingZstd]
		case strings.EqualFold(name, "br"):
			to = &w.codings[codingBr]
		case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
			to = &w.codings[codingGzip]
		case strings.EqualFold(name, "identity"):
			to = &w.identity
		case name == "*":
			to = &w.any
		default:
			continue
		}
		if q, ok := weight(params); ok && *to < 0 {
			*to = q
		}
	}
}

// weight reads the parameters of an element: nothing, or q with up to three
// digits behind the point, which is returned in thousandths.
func weight(params string) (q int, ok bool) {
	params = strings.Trim(params, " \t")
	if params == "" {
		return 1000, true
	}
	if len(params) < len("q=0") || params[0]|0x20 != 'q' || params[1] != '=' {
		return 0, false
	}
	v := params[2:]
	whole := v[0]
	if whole != '0' && whole != '1' {
		return 0, false
	}
	q = int(whole-'0') * 1000
	if len(v) == 1 {
		return q, true
	}
	if v[1] != '.' || len(v) > len("0.000") {
		return 0, false
	}
	for i, unit := 2, 100; i < len(v); i, unit = i+1, unit/10 {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		q += int(v[i]-'0') * unit
	}
	return q, q <= 1000
}
