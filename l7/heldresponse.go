package l7

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/buf"
)

// ErrReplaced is what writing content of the upstream's answer ends with once a
// Response hook that looked at it has answered in its place. Nothing is wrong
// then: the pipeline writes that answer.
var ErrReplaced = &Error{Status: http.StatusBadGateway, Message: "An invalid response was received from the upstream server", Side: SideSelf, Err: errors.New("the answer was replaced")}

// heldResponse is the wire of an answer that is held back, head and all, until
// there is enough of its content for a Response hook that looks at it.
type heldResponse struct {
	Wire // that the answer goes to

	x       *Exchange
	step    int   // the hook's place in the plan's Response hooks
	most    int64 // bytes the hook looks at
	content []byte
	whole   bool // that is all of it
	ended   bool // the hook may run, or has run

	budget *atomic.Int64 // that cost is counted in
	cost   int64
}

// holdResponse lets the answer be held back if the step at the given place wants
// that.
func (x *Exchange) holdResponse(p ResponsePeeker, step int) bool {
	if h := x.prefix; h != nil && h.ended && h.step == step {
		return false // the content is here
	}
	most := p.ResponsePeek(x)
	if most <= 0 || x.Req.Method == http.MethodHead || bodiless(x.Resp.Status) || x.Resp.Size == 0 {
		return false
	}
	x.prefix = &heldResponse{Wire: x.Wire, x: x, step: step, most: most, budget: &x.pipeline.Shared.bodies}
	x.Wire = x.prefix
	return true
}

// unhold ends whatever is held back of an answer that will not come.
func (x *Exchange) unhold() {
	if h := x.prefix; h != nil {
		h.release()
		if x.Wire == Wire(h) {
			x.Wire = h.Wire
			x.Sent = 0
		}
	}
}

// ResponsePrefix returns the beginning of the answer's content in the Response
// hook of a plugin that asked for it by ResponsePeek, and whether that is all of
// it. It must not be changed, and is valid until the hook returns. Where the
// plugin did not ask, or there is no content, it is nil.
func (x *Exchange) ResponsePrefix() (prefix []byte, whole bool) {
	h := x.prefix
	if h == nil || !h.ended || h.step != x.atStep {
		return nil, false
	}
	return h.content, h.whole
}

// Write keeps content until there is enough.
func (h *heldResponse) Write(p []byte) (int, error) {
	if h.ended {
		return 0, ErrReplaced // else this would not be the exchange's wire
	}
	room := min(h.most-int64(len(h.content)), int64(len(p)))
	if !h.keep(p[:room]) {
		return 0, errNoRoom
	}
	rest := p[room:]
	if len(rest) == 0 {
		return len(p), nil
	}
	if err := h.end(false); err != nil {
		return 0, err
	}
	n, err := h.x.Wire.Write(rest)
	return int(room) + n, err
}

// keep copies p behind what is held.
func (h *heldResponse) keep(p []byte) bool {
	if need := int64(len(h.content) + len(p)); need > int64(cap(h.content)) {
		size := max(need, min(2*int64(cap(h.content)), h.most), min(h.x.Resp.Size, h.most, buf.Large))
		if !h.reserve(size - h.cost) {
			return false
		}
		h.content = append(make([]byte, 0, size), h.content...)
	}
	h.content = append(h.content, p...)
	return true
}

func (h *heldResponse) reserve(n int64) bool {
	most := h.x.pipeline.BodyBuffers
	if h.budget.Add(n) > most && most > 0 {
		h.budget.Add(-n)
		return false
	}
	h.cost += n
	return true
}

// Flush sends nothing: the head is not out.
func (h *heldResponse) Flush() error { return nil }

// Finish ends content that is all here.
func (h *heldResponse) Finish(trailer *Header) error {
	if h.ended {
		return ErrReplaced
	}
	if err := h.end(true); err != nil {
		return err
	}
	return h.x.Wire.Finish(trailer)
}

// end lets the hook look, and then the head and what was held go to the wire.
func (h *heldResponse) end(whole bool) error {
	x := h.x
	h.ended, h.whole = true, whole
	v, err := x.resume(h)
	if err != nil {
		return err
	}
	if v == Done {
		return ErrReplaced
	}
	defer h.release()
	if len(h.content) == 0 {
		return nil
	}
	_, err = x.Wire.Write(h.content)
	return err
}

// resume goes on with the Response hooks where the answer was held back.
func (x *Exchange) resume(h *heldResponse) (Verdict, error) {
	x.Wire = h.Wire
	v, err := x.sendHead(h.step)
	if v == Done {
		x.Wire = h // whatever content follows is refused
	}
	return v, err
}

func (h *heldResponse) release() {
	h.budget.Add(-h.cost)
	h.content, h.cost = nil, 0
}
