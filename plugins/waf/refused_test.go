package waf_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// shown is what an event tells, as far as the tests here look.
type shown struct {
	Action, Would string
	Status, Rule  int
	Method        string
	Target        string
	Matches       []struct{ Rule int }
}

func (s *shown) has(rule int) bool {
	for _, m := range s.Matches {
		if m.Rule == rule {
			return true
		}
	}
	return false
}

// events are those of a WAF log.
func events(t *testing.T, lines []string) []shown {
	t.Helper()
	all := make([]shown, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// raw sends bytes on a connection of its own, and returns the answer's first line.
func raw(t *testing.T, e *testkit.Edge, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", e.At("http").String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(answer), "\r\n")
	return line
}

// TestPitfallRefusedRequestsAreSeen: a server that refuses what it dislikes before
// the WAF sees it blinds the rules. The answer is the server's, and the log tells
// what the rules say of the request.
func TestPitfallRefusedRequestsAreSeen(t *testing.T) {
	const host = "Host: shop.test\r\nUser-Agent: test\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	sqli := attack[2:]
	for _, mode := range []string{"block", "detect"} {
		t.Run(mode, func(t *testing.T) {
			at := origin(t, noContent)
			e := testkit.StartEdge(t, "services:\n  - {name: shop, url: \"http://"+at+"\", routes: [{name: all, paths: [/]}]}\nplugins: [{name: waf, config: {mode: "+mode+"}}]")
			requests := []struct {
				name, bytes string
				status      string
				rule        int
			}{
				{"a byte in the target", "GET /a\xe2\x93\x9b?" + sqli + " HTTP/1.1\r\n" + host, "400", 942100},
				{"a control byte in a field", "GET /?" + sqli + " HTTP/1.1\r\nX-A: \x01\r\n" + host, "400", 942100},
				{"line feeds alone", "GET /?" + sqli + " HTTP/1.1\nHost: shop.test\n\n", "400", 942100},
				{"a version that nobody has", "GET /?" + sqli + " HTTP/4.0\r\n" + host, "505", 942100},
				{"two lengths", "POST /?" + sqli + " HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + host, "400", 942100},
				{"a target too long", "GET /?" + sqli + "&x=" + strings.Repeat("x", 20<<10) + " HTTP/1.1\r\n" + host, "414", 942100},
				{"a path of no normal form", "GET /..%00?" + sqli + " HTTP/1.1\r\n" + host, "400", 942100},
				{"a method that is not forwarded", "CONNECT shop.test:80 HTTP/1.1\r\n" + host, "405", 911100},
			}
			for _, r := range requests {
				if got := raw(t, e, r.bytes); !strings.HasPrefix(got, "HTTP/1.1 "+r.status+" ") {
					t.Errorf("%s is answered with %q", r.name, got)
				}
			}
			wantStatus(t, e, "/", 204)
			e.Stop()
			all := events(t, e.WAFLog())
			if len(all) != len(requests) {
				t.Fatalf("there are %d events of %d requests", len(all), len(requests))
			}
			for i, r := range requests {
				if ev := all[i]; ev.Action != "refused" || ev.Would != "deny" || ev.Rule != 949110 || !ev.has(r.rule) || !strings.HasPrefix(r.status, "4") && ev.Status != 505 {
					t.Errorf("%s: %+v", r.name, ev)
				}
			}
			series := scrape(t, e.Metrics())
			if n := series["bulwark_waf_refused_requests_total"]; n != "8" {
				t.Errorf("%s refused requests are counted", n)
			}
			if n := series[`bulwark_waf_blocked_requests_total{part="request"}`]; n != "0" {
				t.Errorf("%s are counted as blocked", n)
			}
			if n := series["bulwark_waf_inspected_requests_total"]; n != "9" {
				t.Errorf("%s are counted as inspected", n)
			}
		})
	}
}

// TestRefusedUnseen: of a client that sends no request there is nothing to tell.
func TestRefusedUnseen(t *testing.T) {
	e := testkit.StartEdge(t, "node: {limits: {header_timeout: 2s}}\nplugins: [{name: waf}]")
	if got := raw(t, e, "GET /"+attack); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("a head that does not end is answered with %q", got)
	}
	e.Stop()
	if lines := e.WAFLog(); len(lines) > 0 {
		t.Errorf("the log has %q", lines)
	}
}

// TestUpstreamVersion: rules see the version that the upstream speaks.
func TestUpstreamVersion(t *testing.T) {
	const rule = `directives: 'SecRule RESPONSE_PROTOCOL "@streq HTTP/1.0" "id:100001,phase:3,deny,status:502"'`
	e := testkit.StartEdge(t, guarded(origin(t, "HTTP/1.0 204 No Content\r\nConnection: keep-alive\r\n\r\n"), "", rule))
	wantStatus(t, e, "/", 502)
	e = testkit.StartEdge(t, guarded(origin(t, noContent), "", rule))
	wantStatus(t, e, "/", 204)
}

// TestPitfallTrailersAreTold: no rule sees fields behind the content, so each
// request that has some is told of, whatever becomes of them.
func TestPitfallTrailersAreTold(t *testing.T) {
	for policy, arrives := range map[string]bool{"remove": false, "pass": true} {
		seen := make(chan bool, 1)
		at := testkit.StartTCP(t, func(c net.Conn) {
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			seen <- req.Trailer.Get("X-Sum") != ""
			_, _ = io.WriteString(c, noContent)
		})
		e := testkit.StartEdge(t, guarded(at, "", "request_trailers: "+policy))
		answer := raw(t, e, "POST / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test\r\nAccept: */*\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\nX-Sum: 1\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 204 ") || <-seen != arrives {
			t.Errorf("%s: answered with %q, or the field's fate is another one", policy, answer)
		}
		e.Stop()
		if lines := e.WAFLog(); len(lines) != 1 || !strings.Contains(lines[0], `"uninspected":["request_trailers: `+policy+`"]`) {
			t.Errorf("%s: the log has %q", policy, lines)
		}
		if n := scrape(t, e.Metrics())[`bulwark_waf_uninspected_parts_total{reason="request_trailers_`+policy+`"}`]; n != "1" {
			t.Errorf("%s: %q requests with trailers are counted", policy, n)
		}
	}
}
