package l7

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
)

func TestServe(t *testing.T) {
	tests := []struct {
		name    string
		method  string
		target  string
		setup   func(f *fixture, x *Exchange)
		want    string
		body    string // what the answer holds
		reason  Reason
		forward int
	}{
		{"proxied", "GET", "/shop/cart?a=1", nil, "[200] finished", "ok", ReasonNone, 1},
		{"no route", "GET", "/elsewhere", nil, "[404] finished", "no Route matched with those values", ReasonNoRoute, 0},
		{"no route, HEAD", "HEAD", "/elsewhere", nil, "[404] finished", "", ReasonNoRoute, 0},
		{"a path out of its root", "GET", "/shop/%zz", nil, "[400] finished", "Bad request", ReasonBadRequest, 0},
		{"body too large", "POST", "/shop", func(f *fixture, x *Exchange) {
			f.BodyBytes, x.Req.ContentLength = 10, 11
		}, "[413] finished", "Payload too large", ReasonBodyTooLarge, 0},
		{"body just fits", "POST", "/shop", func(f *fixture, x *Exchange) {
			f.BodyBytes, x.Req.ContentLength = 10, 10
		}, "[200] finished", "ok", ReasonNone, 1},
		{"https required", "GET", "/shop", func(f *fixture, _ *Exchange) { f.route.HTTP = false }, "[426] finished", "Please use HTTPS protocol", ReasonHTTPSRequired, 0},
		{"https redirect", "GET", "/shop/a?b=c", func(f *fixture, _ *Exchange) {
			f.route.HTTP, f.route.Entity.HTTPSRedirectStatusCode = false, 308
		}, "[308] finished", "Please use HTTPS protocol", ReasonHTTPSRequired, 0},
		{"https is there", "GET", "/shop", func(f *fixture, x *Exchange) {
			f.route.HTTP, x.Conn.TLS = false, new(l4.TLS)
		}, "[200] finished", "ok", ReasonNone, 1},
		{"https by an untrusted word", "GET", "/shop", func(f *fixture, x *Exchange) {
			f.route.HTTP = false
			x.Req.Header.Add("X-Forwarded-Proto", "https")
		}, "[426] finished", "Please use HTTPS protocol", ReasonHTTPSRequired, 0},
		{"https by a trusted word", "GET", "/shop", func(f *fixture, x *Exchange) {
			f.route.HTTP = false
			f.Policy = NewHeaderPolicy("bulwark/test", nil, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
			x.Req.Header.Add("X-Forwarded-Proto", "HTTPS")
		}, "[200] finished", "ok", ReasonNone, 1},
		{"no service", "GET", "/shop", func(f *fixture, _ *Exchange) { f.route.Service = nil }, "[503] finished", "failure to get a peer from the ring-balancer", ReasonNoEndpoint, 0},
		{"upstream error", "GET", "/shop", func(f *fixture, _ *Exchange) {
			f.upstream.forward = func(*Exchange) error {
				return &Error{Status: 502, Message: "bad upstream", Reason: ReasonUpstreamClosed, Side: SideUpstream, Err: errTest}
			}
		}, "[502] finished", "bad upstream", ReasonUpstreamClosed, 1},
		{"an error of no kind", "GET", "/shop", func(f *fixture, _ *Exchange) {
			f.upstream.forward = func(*Exchange) error { return errTest }
		}, "[500] finished", "An unexpected error occurred", ReasonInternal, 1},
		{"error behind the head", "GET", "/shop", func(f *fixture, _ *Exchange) {
			f.upstream.forward = func(x *Exchange) error {
				x.Resp.Status, x.Proxied = 200, true
				_, _ = x.SendHead()
				return &Error{Status: 502, Reason: ReasonUpstreamClosed, Side: SideUpstream}
			}
		}, "[200] aborted [upstream_closed]", "", ReasonUpstreamClosed, 1},
		{"the client left", "GET", "/shop", func(f *fixture, _ *Exchange) {
			f.upstream.forward = func(*Exchange) error {
				return &Error{Status: StatusClientGone, Reason: ReasonClientGone, Side: SideClient}
			}
		}, "[] aborted [client_gone]", "", ReasonClientGone, 1},
		{"the head cannot be written", "GET", "/elsewhere", func(_ *fixture, x *Exchange) {
			x.Wire.(*fakeWire).failHead = &Error{Status: StatusClientGone, Reason: ReasonWriteStall, Side: SideClient}
		}, "[404] aborted [write_stall]", "", ReasonWriteStall, 0},
		{"the reply's content cannot be written", "GET", "/elsewhere", func(_ *fixture, x *Exchange) {
			x.Wire.(*fakeWire).failBody = &Error{Status: StatusClientGone, Reason: ReasonWriteStall, Side: SideClient}
		}, "[404] aborted [write_stall]", "", ReasonWriteStall, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			x, w := request(t, tt.method, tt.target)
			if tt.setup != nil {
				tt.setup(f, x)
			}
			f.Serve(x)
			if got := w.answered(); got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			if !strings.Contains(w.body.String(), tt.body) || tt.body == "" && w.body.Len() > 0 {
				t.Errorf("content %q, want %q", &w.body, tt.body)
			}
			if w.finished && tt.method != "HEAD" && w.size != int64(w.body.Len()) {
				t.Errorf("announced %d bytes, wrote %d", w.size, w.body.Len())
			}
			if x.Reason() != tt.reason || f.upstream.calls != tt.forward {
				t.Errorf("reason %v after %d calls of the upstream, want %v after %d", x.Reason(), f.upstream.calls, tt.reason, tt.forward)
			}
			if n := f.Metrics.Terminations.Load(int(tt.reason)); tt.reason != ReasonNone && n != 1 {
				t.Errorf("the termination counts %d times", n)
			}
		})
	}
}

func TestHTTPSRedirect(t *testing.T) {
	f := newFixture(t, nil)
	f.route.HTTP, f.route.Entity.HTTPSRedirectStatusCode = false, 301
	x, w := request(t, "GET", "/shop/a?b=c")
	f.Serve(x)
	if got, _ := w.head.Get("Location"); got != "https://shop.test/shop/a?b=c" {
		t.Errorf("Location %q", got)
	}
}

func TestProblemShape(t *testing.T) {
	f := newFixture(t, nil)
	x, w := request(t, "GET", "/elsewhere")
	f.Serve(x)
	var body struct {
		Message string `json:"message"`
		ID      string `json:"request_id"`
	}
	if err := json.Unmarshal(w.body.Bytes(), &body); err != nil {
		t.Fatalf("%v in %q", err, &w.body)
	}
	if body.ID != x.ID || body.Message != "no Route matched with those values" {
		t.Errorf("body %+v", body)
	}
	if id, _ := w.head.Get("X-Kong-Request-Id"); id != x.ID {
		t.Errorf("X-Kong-Request-Id %q, want %q", id, x.ID)
	}
	if ct, _ := w.head.Get("Content-Type"); ct != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", ct)
	}
	if problem := Problem(500, `a "quoted" <message>`); !json.Valid(append(append(slices.Clone(problem.Body), "id"...), problem.tail...)) {
		t.Errorf("not JSON: %s", problem.Body)
	}
}

func TestReject(t *testing.T) {
	f := newFixture(t, planOf(map[int]any{0: onReq(func(*Exchange) Verdict {
		t.Error("a hook of a route ran for a head that is no request")
		return Next
	})}))
	x, w := request(t, "GET", "/shop")
	f.Reject(x, &Error{Status: 400, Message: "Bad request", Reason: ReasonBadRequest, Side: SideClient})
	if got := w.answered(); got != "[400] finished" || !x.Req.Close || f.upstream.calls != 0 {
		t.Errorf("answered %q, close %v, %d calls", got, x.Req.Close, f.upstream.calls)
	}
}

// recorder notes which hooks ran.
type recorder struct {
	name string
	ran  *[]string
	done string // the phase in which it answers
}

func (r *recorder) in(phase string, x *Exchange) Verdict {
	*r.ran = append(*r.ran, phase+" "+r.name)
	if r.done == phase {
		return x.Reply(NewReply(418, "text/plain", []byte(r.name)))
	}
	return Next
}

func (r *recorder) PreRoute(x *Exchange) Verdict { return r.in("pre-route", x) }
func (r *recorder) Request(x *Exchange) Verdict  { return r.in("request", x) }
func (r *recorder) Upstream(x *Exchange) Verdict { return r.in("upstream", x) }
func (r *recorder) Response(x *Exchange) Verdict { return r.in("response", x) }
func (r *recorder) Log(x *Exchange)              { r.in("log", x) }

func TestPhases(t *testing.T) {
	tests := []struct {
		name string
		done string // the phase in which the first of the route's plugins answers
		want []string
		body string
	}{
		{"all", "", []string{
			"pre-route global", "request a", "request b", "upstream a", "upstream b", "response a", "response b", "log a", "log b",
		}, "ok"},
		{"request answers", "request", []string{"pre-route global", "request a", "response a", "response b", "log a", "log b"}, "a"},
		{"upstream answers", "upstream", []string{
			"pre-route global", "request a", "request b", "upstream a", "response a", "response b", "log a", "log b",
		}, "a"},
		{"response replaces the upstream's answer", "response", []string{
			"pre-route global", "request a", "request b", "upstream a", "upstream b", "response a",
			"response a", "response b", "log a", "log b", // of the reply
		}, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ran []string
			f := newFixture(t, planOf(map[int]any{1: &recorder{"a", &ran, tt.done}, 2: &recorder{"b", &ran, ""}}))
			f.Global = planOf(map[int]any{0: &recorder{"global", &ran, ""}})
			x, w := request(t, "GET", "/shop")
			f.Serve(x)
			if !slices.Equal(ran, tt.want) {
				t.Errorf("ran\n%q, want\n%q", ran, tt.want)
			}
			if w.body.String() != tt.body || !w.finished {
				t.Errorf("content %q, want %q", &w.body, tt.body)
			}
		})
	}
}

func TestPreRouteAnswers(t *testing.T) {
	var ran []string
	f := newFixture(t, planOf(map[int]any{1: &recorder{"a", &ran, ""}}))
	f.Global = planOf(map[int]any{0: &recorder{"global", &ran, "pre-route"}})
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if want := []string{"pre-route global", "response global", "log global"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if got := w.answered(); got != "[418] finished" || x.Reason() != ReasonPlugin {
		t.Errorf("answered %q, reason %v", got, x.Reason())
	}
}

// TestConsumerSwitch shows that from the hook on that names the consumer, the
// consumer's plan runs, and that no place in the order runs twice.
func TestConsumerSwitch(t *testing.T) {
	var ran []string
	alice := &config.Consumer{Username: "alice"}
	auth := onReq(func(x *Exchange) Verdict {
		ran = append(ran, "auth")
		x.SetConsumer(alice)
		return Next
	})
	f := newFixture(t, planOf(map[int]any{1: &recorder{"early", &ran, ""}, 2: auth, 3: &recorder{"general", &ran, ""}}))
	consumers := planOf(map[int]any{1: &recorder{"early for alice", &ran, ""}, 2: auth, 3: &recorder{"for alice", &ran, ""}, 4: &recorder{"only alice", &ran, ""}})
	f.ConsumerPlan = func(r *Route, c *config.Consumer) *Plan {
		if r != f.route || c != alice {
			t.Errorf("asked for the plan of %v and %v", r, c)
		}
		return consumers
	}
	x, _ := request(t, "GET", "/shop")
	f.Serve(x)
	want := []string{
		"request early", "auth", "request for alice", "request only alice",
		"upstream early for alice", "upstream for alice", "upstream only alice",
		"response early for alice", "response for alice", "response only alice",
		"log early for alice", "log for alice", "log only alice",
	}
	if !slices.Equal(ran, want) {
		t.Errorf("ran\n%q, want\n%q", ran, want)
	}
}

func TestConsumerWithoutPlans(t *testing.T) {
	f := newFixture(t, planOf(map[int]any{0: onReq(func(x *Exchange) Verdict {
		x.SetConsumer(&config.Consumer{Username: "bob"})
		return Next
	})}))
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if got := w.answered(); got != "[200] finished" || x.Consumer.Username != "bob" {
		t.Errorf("answered %q for %v", got, x.Consumer)
	}
}

func TestHookFails(t *testing.T) {
	f := newFixture(t, planOf(map[int]any{0: onReq(func(x *Exchange) Verdict { return x.Fail(errTest) })}))
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	if got := w.answered(); got != "[500] finished" || f.upstream.calls != 0 {
		t.Errorf("answered %q after %d calls", got, f.upstream.calls)
	}
	if s := f.log.text.String(); strings.Count(s, "answering an exchange with an error") != 1 || !strings.Contains(s, errTest.Error()) {
		t.Errorf("the log says %q, want the error, once", s)
	}
}

// TestPanics shows that a panic in a hook ends its exchange alone: it is
// counted, logged with the request's id, and the client gets an answer as long
// as none has begun.
func TestPanics(t *testing.T) {
	broken := func(*Exchange) Verdict { panic("out of order") }
	tests := []struct {
		name  string
		plan  map[int]any
		setup func(f *fixture)
		want  string
	}{
		{"pre-route", nil, func(f *fixture) { f.Global = planOf(map[int]any{0: preRoute(broken)}) }, "[500] finished"},
		{"request", map[int]any{0: onReq(broken)}, nil, "[500] finished"},
		{"upstream", map[int]any{0: onTry(broken)}, nil, "[500] finished"},
		{"response", map[int]any{0: onResp(broken)}, nil, "[500] finished"},
		{"log", map[int]any{0: onLog(func(x *Exchange) { broken(x) })}, nil, "[200] finished"},
		{"done without an answer", map[int]any{0: onReq(func(*Exchange) Verdict { return Done })}, nil, "[500] finished"},
		{"behind the head", nil, func(f *fixture) {
			f.upstream.forward = func(x *Exchange) error {
				x.Resp.Status, x.Proxied = 200, true
				_, _ = x.SendHead()
				panic("out of order")
			}
		}, "[200] aborted [internal]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			logged := false
			plan := tt.plan
			if plan == nil {
				plan = make(map[int]any)
			}
			plan[9] = onLog(func(*Exchange) { logged = true })
			f := newFixture(t, planOf(plan))
			f.Global = planOf(map[int]any{9: plan[9]})
			if tt.setup != nil {
				tt.setup(f)
				f.Global.Log = planOf(map[int]any{9: plan[9]}).Log
			}
			x, w := request(t, "GET", "/shop")
			f.Serve(x)
			if got := w.answered(); got != tt.want {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
			if n := f.Metrics.Panics.Load(); n != 1 {
				t.Errorf("%d panics counted, want 1", n)
			}
			if s := f.log.text.String(); !strings.Contains(s, "recovering from a panic in an exchange") || !strings.Contains(s, x.ID) {
				t.Errorf("the log says %q", s)
			}
			if !logged {
				t.Error("the other Log hooks did not run")
			}
			if w.finished && w.heads[0] == 500 && x.Reason() != ReasonInternal {
				t.Errorf("reason %v", x.Reason())
			}
		})
	}
}

// TestPanicWhileAnswering shows that a wire which panics too is aborted.
func TestPanicWhileAnswering(t *testing.T) {
	f := newFixture(t, planOf(map[int]any{0: onReq(func(*Exchange) Verdict { panic("first") })}))
	x, w := request(t, "GET", "/shop")
	x.Wire = &brokenWire{w}
	f.Serve(x)
	if n := f.Metrics.Panics.Load(); n != 2 || len(w.aborted) != 1 {
		t.Errorf("%d panics counted, aborted %v", n, w.aborted)
	}
}

type brokenWire struct{ *fakeWire }

func (*brokenWire) WriteHead(int, *Header, int64) error { panic("second") }

func TestSlot(t *testing.T) {
	var number Slot[int]
	var text Slot[string]
	var other Slot[int]
	x, _ := request(t, "GET", "/")
	y, _ := request(t, "GET", "/")
	if number.Get(x) != 0 || text.Get(x) != "" {
		t.Error("an empty slot holds something")
	}
	number.Set(x, 1)
	text.Set(x, "one")
	number.Set(y, 2)
	number.Set(x, 3)
	if number.Get(x) != 3 || text.Get(x) != "one" || number.Get(y) != 2 || other.Get(x) != 0 {
		t.Errorf("slots hold %d, %q, %d, %d", number.Get(x), text.Get(x), number.Get(y), other.Get(x))
	}
}

// TestReleaseForgets shows that nothing of an exchange is left in the next one
// that uses its memory.
func TestReleaseForgets(t *testing.T) {
	var slot Slot[string]
	f := newFixture(t, planOf(map[int]any{0: onReq(func(x *Exchange) Verdict {
		x.UpstreamHeader().Set("X-One", "1")
		x.AddLogValue("secret", "value")
		slot.Set(x, "kept")
		x.SetConsumer(new(config.Consumer))
		return Next
	})}))
	x := NewExchange()
	y, w := request(t, "GET", "/shop?q=1", "Cookie: a=b")
	x.Conn, x.Wire = y.Conn, w
	x.Req = Request{Method: "GET", Target: "/shop?q=1", Path: "/shop", Query: "q=1", HasQuery: true, Proto: HTTP11}
	x.Req.Header.CopyFrom(&y.Req.Header)
	f.Serve(x)
	x.Release()
	if x.Req.Header.Len()+x.Resp.Header.Len()+x.Upstream.header.Len()+len(x.slots)+len(x.logValues)+len(x.Tries) != 0 {
		t.Error("lists are left")
	}
	if x.Conn != nil || x.Wire != nil || x.ID != "" || x.Route != nil || x.Consumer != nil || x.plan != nil || x.pipeline != nil ||
		x.Upstream.edited || x.Upstream.Path != "" || x.Match.Route != nil || x.headSent || x.Proxied || x.Sent != 0 || x.started != 0 {
		t.Errorf("something is left: %+v", x)
	}
}

func TestUpstreamHeader(t *testing.T) {
	x, _ := request(t, "GET", "/", "Connection: keep-alive, X-Secret", "X-Secret: client's", "X-One: 1")
	if !x.Nominated(&Field{Name: "x-secret"}) || x.Nominated(&Field{Name: "X-One", ID: FieldOther}) {
		t.Error("what the client nominates is mistaken")
	}
	if x.HeaderToSend() != &x.Req.Header {
		t.Error("an unedited header was copied")
	}
	h := x.UpstreamHeader()
	if _, ok := h.Get("X-Secret"); ok {
		t.Error("a nominated field is sent on")
	}
	h.Add("X-Secret", "ours")
	if got, _ := x.HeaderToSend().Get("X-Secret"); got != "ours" || x.Nominated(&Field{Name: "X-Secret"}) {
		t.Errorf("the client made a field disappear that was set later: %q", got)
	}
	if got, _ := x.Req.Header.Get("X-Secret"); got != "client's" {
		t.Errorf("the request as sent was changed to %q", got)
	}
}

func TestSplitAuthority(t *testing.T) {
	for _, tt := range []struct {
		authority, host string
		port            uint16
	}{
		{"", "", 0},
		{"Shop.Test", "shop.test", 0},
		{"Shop.Test:8443", "shop.test", 8443},
		{"192.0.2.1:80", "192.0.2.1", 80},
		{"[2001:DB8::1]", "[2001:db8::1]", 0},
		{"[2001:DB8::1]:443", "[2001:db8::1]", 443},
	} {
		if host, port := splitAuthority(tt.authority); host != tt.host || port != tt.port {
			t.Errorf("splitAuthority(%q) = %q, %d, want %q, %d", tt.authority, host, port, tt.host, tt.port)
		}
	}
}

func TestErrors(t *testing.T) {
	e := &Error{Message: "said", Reason: ReasonUpstreamTLS, Err: errTest}
	if got := e.Error(); got != "upstream_tls: said: out of order" {
		t.Errorf("text %q", got)
	}
	if wrapped := fmt.Errorf("serving: %w", e); asError(wrapped) != e {
		t.Error("an Error within an error was not found")
	}
	seen := make(map[string]bool)
	for i, name := range ReasonNames() {
		if name == "" || seen[name] || Reason(i).String() != name {
			t.Errorf("reason %d is %q", i, name)
		}
		seen[name] = true
	}
	for p, want := range map[Proto]string{HTTP10: "HTTP/1.0", HTTP11: "HTTP/1.1", HTTP2: "HTTP/2.0", HTTP3: "HTTP/3.0", 0: "HTTP/?"} {
		if p.String() != want {
			t.Errorf("proto %d is %q", p, p)
		}
	}
}

// TestListenerPlan shows that what a listener puts before a plan runs first in
// each phase, once, whatever the plan behind it becomes.
func TestListenerPlan(t *testing.T) {
	var ran []string
	first := NewPlan([]Instance{{Order: -2, Kind: "a", Plugin: &recorder{"first", &ran, ""}}, {Order: -1, Kind: "b", Plugin: &recorder{"second", &ran, ""}}})
	alice := &config.Consumer{Username: "alice"}
	auth := onReq(func(x *Exchange) Verdict {
		ran = append(ran, "auth")
		x.SetConsumer(alice)
		return Next
	})
	route := planOf(map[int]any{0: auth, 1: &recorder{"general", &ran, ""}})
	consumers := planOf(map[int]any{0: auth, 1: &recorder{"alice", &ran, ""}})
	f := newFixture(t, route)
	f.Global = first.Join(new(Plan))
	f.RoutePlan = func(r *Route) *Plan { return first.Join(r.Plan) }
	f.ConsumerPlan = func(*Route, *config.Consumer) *Plan { return first.Join(consumers) }
	x, _ := request(t, "GET", "/shop")
	f.Serve(x)
	want := []string{
		"pre-route first", "pre-route second", "request first", "request second", "auth", "request alice",
		"upstream first", "upstream second", "upstream alice",
		"response first", "response second", "response alice",
		"log first", "log second", "log alice",
	}
	if !slices.Equal(ran, want) {
		t.Errorf("ran\n%q, want\n%q", ran, want)
	}
	ran = nil
	x, _ = request(t, "GET", "/nowhere")
	f.Serve(x)
	want = []string{"pre-route first", "pre-route second", "response first", "response second", "log first", "log second"}
	if !slices.Equal(ran, want) {
		t.Errorf("without a route ran\n%q, want\n%q", ran, want)
	}
}

// TestBareReplySent shows that an answer that is a head alone counts no content.
func TestBareReplySent(t *testing.T) {
	f := newFixture(t, nil)
	x, w := request(t, "POST", "/elsewhere", "Content-Type: application/grpc")
	x.Req.Proto = HTTP2
	f.Serve(x)
	if got, _ := w.head.Get("grpc-status"); got != "5" || x.Sent != 0 {
		t.Errorf("grpc-status %q, %d bytes of content counted", got, x.Sent)
	}
}
