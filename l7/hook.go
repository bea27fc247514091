package l7

import "slices"

// Verdict says how an exchange goes on after a hook.
type Verdict uint8

const (
	Next Verdict = iota // the exchange goes on
	Done                // the exchange has its answer
)

// A plugin implements the hooks it needs. Hooks are called on the exchange's
// goroutine and must not keep the exchange, nor any string of it beyond what
// they copy, after they return. One plugin serves any number of exchanges at
// once.
type (
	// PreRouteHook runs before the router, for instances of global scope.
	PreRouteHook interface{ PreRoute(x *Exchange) Verdict }
	// RequestHook runs once the route is known and before an upstream is chosen.
	RequestHook interface{ Request(x *Exchange) Verdict }
	// UpstreamHook runs before each try, once the endpoint is known.
	UpstreamHook interface{ Upstream(x *Exchange) Verdict }
	// ResponseHook runs before the final head is written, whoever made it. Done
	// after Reply replaces the upstream's answer; within a reply it is ignored.
	ResponseHook interface{ Response(x *Exchange) Verdict }
	// ResponseBodyHook runs after the Response hooks for an answer with content,
	// whoever made it. It returns what the content passes through, or nil to
	// leave it alone. It may still change x.Resp: a filter that changes the
	// content's length sets x.Resp.Size to the new one or, if it does not know
	// it, to -1. The first filter of a plan gets the upstream's bytes, the last
	// writes to the client.
	ResponseBodyHook interface{ ResponseBody(x *Exchange) BodyFilter }
	// FailureHook runs when the upstream could not be asked or did not answer, and
	// nothing was sent to the client yet; x.Err says why. Done after Reply answers
	// in place of the error.
	FailureHook interface{ Failure(x *Exchange) Verdict }
	// LogHook runs when the exchange has ended.
	LogHook interface{ Log(x *Exchange) }
)

// BodyReader is a plugin whose Request hook looks at the request's content.
// Before the hook runs the pipeline reads all of it, at most BodyLimit bytes:
// longer content is refused with 413, and what does not fit into
// node.limits.body_buffers with 503. A limit of 0 means that the plugin does not
// look at this exchange's content.
type BodyReader interface{ BodyLimit(x *Exchange) int64 }

// BodyPeeker is a plugin whose Request hook looks at the beginning of the
// request's content. Before the hook runs the pipeline reads until BodyPeek bytes
// of it, or all, are here; what follows is streamed once the hooks have let the
// request pass. What does not fit into node.limits.body_buffers is refused with
// 503. A result of 0 means that the plugin does not look at this exchange's
// content, which then waits for nothing. See Exchange.BodyPrefix.
type BodyPeeker interface{ BodyPeek(x *Exchange) int64 }

// ResponsePeeker is a plugin whose Response hook looks at the beginning of the
// content of the upstream's answer. Before the hook runs the pipeline holds the
// answer back, head and all, until ResponsePeek bytes of its content, or all, are
// here: so that the hook can still replace it. Content that does not fit into
// node.limits.body_buffers ends the exchange with 503. ResponsePeek sees x.Resp;
// a result of 0 means that the plugin does not look at this answer's content. An
// answer without content, and one of our own, is never held back. See
// Exchange.ResponsePrefix.
type ResponsePeeker interface{ ResponsePeek(x *Exchange) int64 }

// Instance is a configured plugin at its place in the order.
type Instance struct {
	Order  int    // the kind's place in plugins/catalog; below zero on a listener
	Kind   string // the plugin's name
	Plugin any    // what its kind's New returned; implements some of the hooks
	Build  uint64 // tells what was built apart: the same number is the same plugin with the same configuration
}

// Step is one hook of a plan.
type Step[H any] struct {
	Order int
	Kind  string
	Hook  H
	Build uint64 // the instance's

	reader BodyReader     // the plugin, if it is one; for Request hooks, as is the next
	peeker BodyPeeker     // the plugin, if it is one
	holder ResponsePeeker // the plugin, if it is one; for Response hooks
}

// Plan is what runs for an exchange: one slice of hooks per phase, in order.
// It is immutable.
type Plan struct {
	PreRoute []Step[PreRouteHook]
	Request  []Step[RequestHook]
	Upstream []Step[UpstreamHook]
	Response []Step[ResponseHook]
	Log      []Step[LogHook]

	ResponseBody []Step[ResponseBodyHook]
	Failure      []Step[FailureHook]
}

// NewPlan flattens instances, which stand in order, into a plan.
func NewPlan(instances []Instance) *Plan {
	p := new(Plan)
	for _, in := range instances {
		p.PreRoute = appendStep(p.PreRoute, in)
		p.Request = appendStep(p.Request, in)
		p.Upstream = appendStep(p.Upstream, in)
		p.Response = appendStep(p.Response, in)
		p.ResponseBody = appendStep(p.ResponseBody, in)
		p.Failure = appendStep(p.Failure, in)
		p.Log = appendStep(p.Log, in)
	}
	return p
}

// Join returns the plan that runs first's hooks and then p's, in each phase.
// Every order of first's is below those of p.
func (first *Plan) Join(p *Plan) *Plan {
	return &Plan{
		PreRoute: slices.Concat(first.PreRoute, p.PreRoute),
		Request:  slices.Concat(first.Request, p.Request),
		Upstream: slices.Concat(first.Upstream, p.Upstream),
		Response: slices.Concat(first.Response, p.Response),
		Log:      slices.Concat(first.Log, p.Log),

		ResponseBody: slices.Concat(first.ResponseBody, p.ResponseBody),
		Failure:      slices.Concat(first.Failure, p.Failure),
	}
}

// Shape returns a number for the instances whose Response and ResponseBody hooks
// run before that of the Request hook that is running: what they make of an
// answer depends on it. Other instances have another number, and so have the
// same ones with other configurations. It holds within this process.
func (x *Exchange) Shape() uint64 {
	// FNV's constants: numbers that count up stay apart.
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	if x.plan == nil {
		return h
	}
	for i := range x.plan.Response {
		if s := &x.plan.Response[i]; s.Order < x.at {
			h = (h ^ s.Build) * prime
		}
	}
	h = (h ^ offset) * prime // no hook moves from one phase to the other
	for i := range x.plan.ResponseBody {
		if s := &x.plan.ResponseBody[i]; s.Order < x.at {
			h = (h ^ s.Build) * prime
		}
	}
	return h
}

func appendStep[H any](steps []Step[H], in Instance) []Step[H] {
	h, ok := in.Plugin.(H)
	if !ok {
		return steps
	}
	s := Step[H]{Order: in.Order, Kind: in.Kind, Hook: h, Build: in.Build}
	s.reader, _ = in.Plugin.(BodyReader)
	s.peeker, _ = in.Plugin.(BodyPeeker)
	s.holder, _ = in.Plugin.(ResponsePeeker)
	return append(steps, s)
}

// Slot is a plugin's place for one value in every exchange. The zero value is
// ready; a plugin holds it as a field and must not copy it.
type Slot[T any] struct {
	_ byte // so that two slots never share an address
}

// Set stores v in the exchange.
func (s *Slot[T]) Set(x *Exchange, v T) {
	for i := range x.slots {
		if x.slots[i].owner == s {
			x.slots[i].value = v
			return
		}
	}
	x.slots = append(x.slots, slot{s, v})
}

// Get returns what this exchange holds, or the zero value.
func (s *Slot[T]) Get(x *Exchange) (v T) {
	for i := range x.slots {
		if x.slots[i].owner == s {
			v, _ = x.slots[i].value.(T)
			break
		}
	}
	return v
}

type slot struct{ owner, value any }
