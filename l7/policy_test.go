package l7

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"
)

// TestHeaderPolicy shows which fields each of Kong's tokens adds to the
// upstream's answers and to our own.
func TestHeaderPolicy(t *testing.T) {
	tests := []struct {
		name    string
		tokens  []string
		proxied []string
		own     []string
	}{
		{"none", nil, nil, nil},
		{"off", []string{"off"}, nil, nil},
		{"Kong's default", []string{"server_tokens", "latency_tokens", "X-Kong-Request-Id"}, []string{
			"X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "Via", "X-Kong-Request-Id",
		}, []string{"Server", "X-Kong-Response-Latency", "X-Kong-Request-Id"}},
		{"server_tokens", []string{"server_tokens"}, []string{"Via"}, []string{"Server"}},
		{"latency_tokens", []string{"latency_tokens"}, []string{"X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency"}, []string{"X-Kong-Response-Latency"}},
		{"Server", []string{"Server"}, nil, []string{"Server"}},
		{"Via", []string{"Via"}, []string{"Via"}, nil},
		{"X-Kong-Upstream-Latency", []string{"X-Kong-Upstream-Latency"}, []string{"X-Kong-Upstream-Latency"}, nil},
		{"X-Kong-Proxy-Latency", []string{"X-Kong-Proxy-Latency"}, []string{"X-Kong-Proxy-Latency"}, nil},
		{"X-Kong-Response-Latency", []string{"X-Kong-Response-Latency"}, nil, []string{"X-Kong-Response-Latency"}},
		{"X-Kong-Upstream-Status", []string{"X-Kong-Upstream-Status"}, []string{"X-Kong-Upstream-Status"}, nil},
		{"X-Kong-Request-Id", []string{"X-Kong-Request-Id"}, []string{"X-Kong-Request-Id"}, []string{"X-Kong-Request-Id"}},
		{"the Admin API's is none of ours", []string{"X-Kong-Admin-Latency"}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.Policy = NewHeaderPolicy("bulwark/test", tt.tokens, nil)
			for target, want := range map[string][]string{"/shop": tt.proxied, "/elsewhere": tt.own} {
				x, w := request(t, "GET", target)
				f.Serve(x)
				var got []string
				for _, field := range w.head.Fields() {
					if field.ID != FieldDate && field.ID != FieldContentType {
						got = append(got, field.Name)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: our fields are %q, want %q", target, got, want)
				}
				if date, ok := w.head.Known(FieldDate); !ok {
					t.Errorf("%s: no Date", target)
				} else if at, err := time.Parse(time.RFC1123, date); err != nil || time.Since(at) > time.Minute {
					t.Errorf("%s: Date %q, %v", target, date, err)
				}
			}
		})
	}
}

func TestHeaderPolicyValues(t *testing.T) {
	f := newFixture(t, nil)
	f.Policy = NewHeaderPolicy("bulwark/test", []string{"server_tokens", "latency_tokens", "X-Kong-Upstream-Status"}, nil)
	f.upstream.forward = func(x *Exchange) error {
		x.Resp.Status, x.Proxied = 203, true
		x.Resp.Header.Add("Via", "1.0 theirs")
		x.Resp.Header.Add("Date", "Tue, 15 Nov 1994 08:12:31 GMT")
		x.Resp.Header.Add("Server", "theirs")
		_, err := x.SendHead()
		return err
	}
	x, w := request(t, "GET", "/shop")
	f.Serve(x)
	for name, want := range map[string]string{
		"Via": "1.0 theirs, 1.1 bulwark/test", "Date": "Tue, 15 Nov 1994 08:12:31 GMT", "Server": "theirs", "X-Kong-Upstream-Status": "203",
	} {
		if got, _ := w.head.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if ms, _ := w.head.Get("X-Kong-Upstream-Latency"); ms == "" || ms[0] == '-' {
		t.Errorf("X-Kong-Upstream-Latency: %q", ms)
	}
	x, w = request(t, "GET", "/elsewhere")
	f.Serve(x)
	if got, _ := w.head.Get("Server"); got != "bulwark/test" {
		t.Errorf("Server %q", got)
	}
}

func TestTrusts(t *testing.T) {
	nobody := NewHeaderPolicy("x", nil, nil)
	some := NewHeaderPolicy("x", []string{"off"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")})
	for addr, want := range map[string]bool{"10.1.2.3": true, "11.0.0.1": false, "2001:db8::1": true, "::1": false} {
		a := netip.MustParseAddr(addr)
		if got := some.Trusts(a); got != want {
			t.Errorf("%s is trusted: %v, want %v", addr, got, want)
		}
		if nobody.Trusts(a) {
			t.Errorf("%s is trusted although nobody is", addr)
		}
	}
}

func TestViaRequest(t *testing.T) {
	p := NewHeaderPolicy("bulwark/test", nil, nil)
	for proto, want := range map[Proto]string{HTTP10: "1.1 bulwark/test", HTTP11: "1.1 bulwark/test", HTTP2: "2 bulwark/test", HTTP3: "2 bulwark/test"} {
		if got := p.ViaRequest(proto); got != want {
			t.Errorf("%v: %q, want %q", proto, got, want)
		}
	}
}

func TestMillis(t *testing.T) {
	for ns, want := range map[int64]string{
		-5: "0", 0: "0", int64(time.Millisecond) - 1: "0", int64(time.Millisecond): "1",
		int64(999 * time.Millisecond): "999", int64(time.Second): "1000", int64(time.Hour): strconv.Itoa(3600000),
	} {
		if got := millis(ns); got != want {
			t.Errorf("millis(%d) = %q, want %q", ns, got, want)
		}
	}
}

func TestDateClock(t *testing.T) {
	var c dateClock
	first := c.now(0)
	if c.now(0) != first {
		t.Error("the text changed within its second")
	}
	until := c.last.Load().until
	if until <= 0 || until > int64(time.Second) {
		t.Errorf("the text holds for %v, want a second at the most", time.Duration(until))
	}
	if before := c.last.Load(); c.now(until) == "" || c.last.Load() == before {
		t.Error("the text was not made anew once its second was over")
	}
}
