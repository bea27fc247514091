package l7

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// StatusClientGone is what the log says of a request whose client left before
// it was answered. It never stands on a wire.
const StatusClientGone = 499

// Handler serves exchanges; engines call it.
type Handler interface {
	// Serve serves an exchange to its end. When it returns, the answer is
	// finished or the wire was aborted.
	Serve(x *Exchange)
	// Reject ends an exchange whose head or connection was not fit to be
	// served: it is answered, if its status allows, and logged.
	Reject(x *Exchange, err *Error)
}

// Forwarder is the upstream leg. Forward brings the answer of the route's
// service into the exchange: it fills x.Resp, calls x.SendHead, and writes the
// content to x.Wire. It returns nil once the answer is finished or replaced by
// a reply, and the cause otherwise.
type Forwarder interface {
	Forward(x *Exchange) error
}

// Pipeline serves the exchanges of one listener under one snapshot. It is
// immutable.
type Pipeline struct {
	Router *Router
	Global *Plan // what runs without a route; its PreRoute hooks always run

	// RoutePlan returns what runs on a route while no consumer is known. It is
	// nil if that is the route's own plan.
	RoutePlan func(r *Route) *Plan

	// ConsumerPlan returns what runs on a route once its consumer is known. It
	// is nil if no plugin is limited to a consumer.
	ConsumerPlan func(r *Route, c *config.Consumer) *Plan

	Config    *config.Config // that the snapshot was compiled from
	Forwarder Forwarder
	Policy    *HeaderPolicy
	AccessLog *telemetry.LineLog // nil: off
	Metrics   *telemetry.Metrics
	Listener  *telemetry.Listener
	Log       *slog.Logger
	BodyBytes int64 // bound of a request body; 0: none
	Shared    *Shared

	// Policies holds requests over TLS against what the handshakes for their hosts
	// ask. It is nil if all hosts have the same policy and nothing is asked.
	Policies *policy.Set

	// Orphan tells that the listener has gone, so that nobody knows any more what is
	// asked of its clients: who was asked for a certificate is served no more over
	// TLS, and with OrphanGuarded, where other listeners may ask, nobody is.
	Orphan, OrphanGuarded bool

	// Standing ends tunnels when their client's certificate counts no longer, and
	// whoever Lasting belongs to does that to other exchanges that last; nil: nobody
	// does.
	Standing Standing
	Lasting  *Lasting

	BodyBuffers int64  // bound of all content that is buffered for plugins, in bytes; 0: none
	ErrorType   string // media type of errors for requests that tell none

	// Challenges returns what is answered for a token below ChallengePath, if it is
	// ours to answer. It is nil if no certificates are ordered.
	Challenges func(token string) (answer string, ok bool)
}

// Shared is what all pipelines of a process share.
type Shared struct {
	date   dateClock
	bodies atomic.Int64 // bytes buffered for plugins
}

var _ Handler = (*Pipeline)(nil)

// Prebuilt answers and errors of the pipeline's own.
var (
	noRoute       = Problem(http.StatusNotFound, "no Route matched with those values").WithReason(ReasonNoRoute)
	httpsRequired = Problem(http.StatusUpgradeRequired, "Please use HTTPS protocol").
			SetHeader("Connection", "Upgrade").SetHeader("Upgrade", "TLS/1.2, HTTP/1.1").WithReason(ReasonHTTPSRequired)

	errBadPath = errors.New("the path cannot be normalised")
	errBody    = &Error{Status: http.StatusRequestEntityTooLarge, Message: "Payload too large", Reason: ReasonBodyTooLarge, Side: SideClient}
	errNoPeer  = &Error{Status: http.StatusServiceUnavailable, Message: "failure to get a peer from the ring-balancer", Reason: ReasonNoEndpoint, Side: SideSelf}
)

// Serve routes the exchange, runs its plan, and answers it.
func (p *Pipeline) Serve(x *Exchange) {
	p.begin(x)
	defer p.end(x)
	if err := p.run(x); err != nil {
		x.Fail(err)
		p.replace(x)
	}
	x.unhold()
	switch {
	case x.headSent && x.err != nil:
		x.Wire.Abort(x.err.Reason)
	case !x.headSent:
		p.answer(x)
	}
	if cut := x.brokenOff(); cut != nil {
		x.Uncertify(cut.Err)
		x.err = cut // in place of what the broken wire has led to
		x.Wire.Abort(cut.Reason)
	}
}

// replace lets the plan's Failure hooks answer in place of an error that is not
// the client's.
func (p *Pipeline) replace(x *Exchange) {
	if x.headSent || x.err.Side == SideClient {
		return
	}
	for i := range x.plan.Failure {
		if x.plan.Failure[i].Hook.Failure(x) == Done {
			p.Log.Warn("answering in place of an error", "request_id", x.ID, "plugin", x.plan.Failure[i].Kind, "reason", x.err.Reason.String(), "error", x.err.Error())
			x.err = nil
			return
		}
	}
}

// Reject answers an exchange that never came to be served.
func (p *Pipeline) Reject(x *Exchange, err *Error) {
	p.begin(x)
	defer p.end(x)
	if h := x.rejectedHeader(err); h.Len() > 0 && p.Policy != nil {
		p.Policy.findClientIn(x, h)
	}
	x.err = err
	x.Req.Close = true
	p.answer(x)
}

func (p *Pipeline) begin(x *Exchange) {
	x.pipeline, x.plan = p, p.Global
	x.started = sock.Now()
}

// run goes through the phases until something has answered.
func (p *Pipeline) run(x *Exchange) error {
	p.Policy.findClient(x)
	if p.Challenges != nil && p.proves(x) {
		return nil
	}
	for i := range p.Global.PreRoute {
		if p.Global.PreRoute[i].Hook.PreRoute(x) == Done {
			return nil
		}
	}
	if done, err := p.route(x); done || err != nil {
		return err
	}
	x.at = math.MinInt
	for {
		step := x.nextRequestStep()
		if step == nil {
			break
		}
		if x.Req.Body != nil {
			if err := x.readFor(step); err != nil {
				return err
			}
		}
		if step.Hook.Request(x) == Done {
			return nil
		}
	}
	if x.Route.Service == nil {
		return errNoPeer
	}
	x.forwarded = x.started
	if x.Req.Body != nil && x.Route.Entity.RequestBuffering && !x.Route.Service.HTTP2 && x.Req.Upgrade == "" && x.Upstream.body == nil {
		if err := x.holdBody(); err != nil {
			return err
		}
	}
	if len(p.Global.PreRoute)+len(x.plan.Request) > 0 || x.Req.Body != nil {
		x.forwarded = sock.Now()
	}
	return p.Forwarder.Forward(x)
}

// readFor reads the content that a step's hook looks at.
func (x *Exchange) readFor(step *Step[RequestHook]) error {
	if step.reader != nil {
		if limit := step.reader.BodyLimit(x); limit > 0 {
			if err := x.readBody(limit); err != nil {
				return err
			}
		}
	}
	if step.peeker != nil {
		if n := step.peeker.BodyPeek(x); n > 0 {
			return x.readAhead(n)
		}
	}
	return nil
}

// nextRequestStep returns the first step of the plan behind the one that ran
// last. It searches by order, because a hook may have changed the plan by
// naming the consumer.
func (x *Exchange) nextRequestStep() *Step[RequestHook] {
	steps := x.plan.Request
	for i := range steps {
		if steps[i].Order > x.at {
			x.at = steps[i].Order
			return &steps[i]
		}
	}
	return nil
}

// route finds the route, checks what holds for every exchange of it, and
// prepares what the upstream will be sent.
func (p *Pipeline) route(x *Exchange) (done bool, err error) {
	if x.Path, err = NormalizePath(x.Req.Path); err != nil {
		return false, &Error{Status: http.StatusBadRequest, Message: "Bad request", Reason: ReasonBadRequest, Side: SideClient, Err: errors.Join(errBadPath, err)}
	}
	if p.BodyBytes > 0 && x.Req.ContentLength > p.BodyBytes {
		return false, errBody
	}
	host, port := splitAuthority(x.Req.Authority)
	x.Host = host
	if (p.Policies != nil || p.Orphan) && x.Conn.TLS != nil {
		if err := p.admit(x, host); err != nil {
			return false, err
		}
	}
	if port == 0 {
		port = x.Conn.Local.Port()
	}
	q := Query{
		Method: x.Req.Method, Host: host, Port: port, Path: x.Path, Header: &x.Req.Header, HTTPS: x.Conn.TLS != nil,
		Args: x.Req.Query, Conn: x.Conn,
	}
	if x.Conn.TLS != nil {
		q.SNI = x.Conn.TLS.ServerName
	}
	if !p.Router.Match(&q, &x.Match) {
		x.Reply(noRoute)
		return true, nil
	}
	r := x.Match.Route
	x.Route, x.plan = r, r.Plan
	if p.RoutePlan != nil {
		x.plan = p.RoutePlan(r)
	}
	x.enterLasting()
	if r.GRPC || r.GRPCS {
		if reply := p.refuseGRPC(x); reply != nil {
			x.Reply(reply)
			return true, nil
		}
	} else if !r.HTTP && !p.secure(x) {
		x.Reply(p.toHTTPS(x, host))
		return true, nil
	}
	p.prepareUpstream(x)
	return false, nil
}

// secure reports whether the client's leg counts as https: by TLS, or by the
// word of a trusted peer.
func (p *Pipeline) secure(x *Exchange) bool {
	if x.Conn.TLS != nil {
		return true
	}
	proto, ok := x.Req.Header.Known(FieldXForwardedProto)
	return ok && strings.EqualFold(proto, "https") && p.Policy.Trusts(x.Conn.Client.Addr())
}

// toHTTPS is the answer to a plain request on an https-only route.
func (p *Pipeline) toHTTPS(x *Exchange, host string) *Reply {
	code := x.Route.Entity.HTTPSRedirectStatusCode
	if code == http.StatusUpgradeRequired || host == "" {
		return httpsRequired
	}
	location := "https://" + host + x.Req.Path
	if x.Req.HasQuery {
		location += "?" + x.Req.Query
	}
	return Problem(code, "Please use HTTPS protocol").SetHeader("Location", location).WithReason(ReasonHTTPSRequired)
}

// prepareUpstream settles path, query and Host as far as they do not depend on
// the endpoint.
func (p *Pipeline) prepareUpstream(x *Exchange) {
	r, u := x.Route, &x.Upstream
	u.Query, u.HasQuery = x.Req.Query, x.Req.HasQuery
	if r.Service == nil {
		return
	}
	e := r.Entity
	u.Path = UpstreamPath(r.Service.Path, x.Path, x.Match.Matched, e.StripPath, e.PathHandling == "v1")
	if e.StripPath {
		u.Prefix = EscapePath(x.Match.Matched)
	}
	switch {
	case e.PreserveHost && x.Req.Authority != "":
		u.Host = x.Req.Authority
	default:
		u.Host = r.Service.Host
	}
}

// answer writes the reply, or the error, that ends the exchange.
func (p *Pipeline) answer(x *Exchange) {
	r := x.reply
	if x.err != nil {
		if x.err.Status == StatusClientGone {
			x.Wire.Abort(x.err.Reason)
			return
		}
		r = p.problem(x.err)
	}
	r = r.shaped(x)
	x.Proxied = false
	x.Resp.reset()
	x.Resp.Status, x.Resp.Size = r.Status, r.size()
	for _, f := range r.Header {
		x.Resp.Header.AddField(f)
	}
	_, err := x.SendHead()
	if err == nil {
		err = p.sendReplyBody(x, r)
	}
	if err != nil {
		x.err = asError(err)
		x.Wire.Abort(x.err.Reason)
	}
}

func (p *Pipeline) sendReplyBody(x *Exchange, r *Reply) error {
	if x.Req.Method != http.MethodHead && !bodiless(r.Status) {
		if _, err := x.Wire.Write(r.Body); err != nil {
			return err
		}
		if r.tail != nil {
			var tail [IDDigits + 8]byte
			t := append(append(tail[:0], x.ID...), r.tail...)
			if _, err := x.Wire.Write(t); err != nil {
				return err
			}
		}
		x.Sent = max(r.size(), 0)
	}
	return x.Wire.Finish(nil)
}

// problem returns the answer to an error.
func (p *Pipeline) problem(e *Error) *Reply {
	if e.Reply != nil {
		return e.Reply
	}
	return Problem(e.Status, e.Message).WithReason(e.Reason)
}

// SendHead runs the plan's Response hooks over x.Resp, adds the fields that are
// ours, and writes the final head. Done means that a hook has replaced the
// upstream's answer by a reply, which the pipeline will write. Where a plugin
// looks at the content first, the head is only written when enough of that has
// gone to x.Wire, whose methods may then fail with ErrReplaced.
func (x *Exchange) SendHead() (Verdict, error) {
	x.answered = sock.Now()
	return x.sendHead(0)
}

// sendHead is SendHead from the plan's given Response hook on.
func (x *Exchange) sendHead(from int) (Verdict, error) {
	for i := from; i < len(x.plan.Response); i++ {
		step := &x.plan.Response[i]
		x.atStep = i
		if step.holder != nil && x.Proxied && x.holdResponse(step.holder, i) {
			return Next, nil
		}
		if step.Hook.Response(x) == Done && x.Proxied {
			return Done, nil
		}
	}
	return Next, x.writeHead()
}

// writeHead puts the filters in front of the wire and writes x.Resp.
func (x *Exchange) writeHead() error {
	if len(x.plan.ResponseBody) > 0 {
		x.filterBody()
	}
	x.pipeline.Policy.apply(x)
	x.headSent = true
	return x.Wire.WriteHead(x.Resp.Status, &x.Resp.Header, x.Resp.Size)
}

// end logs and counts the exchange. It is also the border at which a broken
// invariant of the exchange stops.
func (p *Pipeline) end(x *Exchange) {
	if v := recover(); v != nil {
		p.panicked(x, v)
		x.leaveLasting()
		p.answerPanic(x)
	}
	x.ended = sock.Now()
	if x.filtered != nil {
		p.endFilters(x)
	}
	for i := range x.plan.Log {
		p.runLogHook(x, x.plan.Log[i].Hook)
	}
	status := x.LogStatus()
	p.Listener.Request(status)
	p.Metrics.Requests.Observe(time.Duration(x.ended - x.started))
	if reason := x.Reason(); reason != ReasonNone {
		p.Metrics.Terminations.Inc(int(reason))
	}
	if x.err != nil && x.err.Side != SideClient && p.Log.Enabled(context.Background(), slog.LevelWarn) {
		p.Log.Warn("answering an exchange with an error", "request_id", x.ID, "reason", x.err.Reason.String(), "status", status, "error", x.err.Error())
	}
	if p.AccessLog != nil {
		p.writeAccessLog(x)
	}
}

func (p *Pipeline) panicked(x *Exchange, v any) {
	p.Metrics.Panics.Inc()
	p.Log.Error("recovering from a panic in an exchange", "request_id", x.ID, "panic", v, "stack", string(debug.Stack()))
}

// answerPanic answers an exchange in which a panic was recovered, if no answer
// has begun, and else breaks the answer off. No further hook but the Log hooks
// runs.
func (p *Pipeline) answerPanic(x *Exchange) {
	x.err = &Error{Status: http.StatusInternalServerError, Message: "An unexpected error occurred", Reason: ReasonInternal}
	x.unhold()
	if x.filtered != nil && !x.headSent {
		x.Wire = x.filtered.Wire // the panic may have been a filter's
	}
	x.plan = &Plan{Log: x.plan.Log}
	defer func() {
		if v := recover(); v != nil {
			p.panicked(x, v)
			x.Wire.Abort(ReasonInternal)
		}
	}()
	if x.headSent {
		x.Wire.Abort(ReasonInternal)
		return
	}
	p.answer(x)
}

// endFilters tells the filters of a broken answer so, and takes their count of
// what was sent. A panic in one does not take the exchange's entry with it.
func (p *Pipeline) endFilters(x *Exchange) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(x, v)
		}
	}()
	x.Sent = x.filtered.sent
	x.filtered.end()
}

// runLogHook runs a Log hook; a panic in it does not take the exchange's entry
// and count, nor its connection, with it.
func (p *Pipeline) runLogHook(x *Exchange, h LogHook) {
	defer func() {
		if v := recover(); v != nil {
			p.panicked(x, v)
		}
	}()
	h.Log(x)
}

// LogStatus returns the status that the log and the metrics tell: the one on
// the wire, or the one it would have been.
func (x *Exchange) LogStatus() int {
	if !x.headSent && x.err != nil {
		return x.err.Status
	}
	return x.Resp.Status
}

// splitAuthority cuts a valid host[:port] in two, the host in lower case; port
// is 0 if there is none.
func splitAuthority(a string) (host string, port uint16) {
	host = a
	if i := strings.LastIndexByte(a, ':'); i >= 0 && !strings.HasSuffix(a, "]") {
		if n, err := strconv.ParseUint(a[i+1:], 10, 16); err == nil {
			port = uint16(n)
		}
		host = a[:i]
	}
	return strings.ToLower(host), port
}
