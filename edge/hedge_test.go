package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/tls/certs"
)

// hedged returns a configuration with one service at targets that are hedged.
func hedged(scheme, delay string, targets ...string) string {
	list := ""
	for _, target := range targets {
		list += "{target: '" + target + "'}, "
	}
	verify := ""
	if scheme == "https" {
		verify = "\n    tls_verify: false"
	}
	return `
node:
  resilience: {hedge: {delay: ` + delay + `, percent: 100, min_per_second: 100000}}
services:
  - name: shop
    url: ` + scheme + `://pool.internal` + verify + `
    routes: [{name: shop, paths: [/], strip_path: false}]
upstreams: [{name: pool.internal, targets: [` + list + `]}]
`
}

// loggedTries returns what the access log's entries tell of their tries: of each
// its state and whether it was a hedge.
func loggedTries(t *testing.T, e *testkit.Edge) []string {
	t.Helper()
	e.Stop()
	var all []string
	for _, line := range e.AccessLog() {
		var entry struct {
			Tries []struct {
				State string
				Hedge bool
			}
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("reading log entry %q: %v", line, err)
		}
		var tries []string
		for _, try := range entry.Tries {
			s := try.State
			if try.Hedge {
				s += "+hedge"
			}
			tries = append(tries, s)
		}
		all = append(all, strings.Join(tries, " "))
	}
	return all
}

// TestIntegrationHedge puts a server that fails in its own way beside nginx.
func TestIntegrationHedge(t *testing.T) {
	nginx := testkit.StartNginx(t)
	nginx.WriteFile("hello", []byte("hello from nginx"))
	tests := []struct {
		name, says string
		log        string // of a request whose first try was there
	}{
		{"hangs", "", "cancelled +hedge"},
		{"sends half a head", "HTTP/1.1 200 OK\r\nContent-Len", "cancelled +hedge"},
		{"sends a hint and no answer", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "cancelled +hedge"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gone := make(chan struct{}, 8)
			bad := testkit.StartTCP(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				if readHead(r) == nil {
					_, _ = io.WriteString(c, tt.says)
					_, _ = r.ReadByte() // until the edge closes
				}
				gone <- struct{}{}
			})
			e := testkit.StartEdge(t, hedged("http", "50ms", bad, nginx.Addr))
			url := "http://" + e.At("http").String() + "/hello"
			if got := testkit.Curl(t, url); got != "hello from nginx" {
				t.Errorf("curl prints %q", got)
			}
			wait(t, "the connection of the loser to close", gone)
			if got := loggedTries(t, e); len(got) != 1 || got[0] != tt.log {
				t.Errorf("the log tells of tries %q, want %q", got, tt.log)
			}
		})
	}
	t.Run("refuses", func(t *testing.T) {
		e := testkit.StartEdge(t, hedged("http", "1h", testkit.LastingAddr(t), nginx.Addr))
		if got := testkit.Curl(t, "http://"+e.At("http").String()+"/hello"); got != "hello from nginx" {
			t.Errorf("curl prints %q", got)
		}
		if got := loggedTries(t, e); len(got) != 1 || got[0] != "failed " {
			t.Errorf("the log tells of tries %q, want a retry", got)
		}
	})
}

// startMoody starts an origin that answers with the target it was asked for: at
// once, late, or never, in many ways. With a certificate it speaks TLS.
func startMoody(t *testing.T, cert *tls.Certificate, moods int) (addr string) {
	t.Helper()
	return testkit.StartTCP(t, func(nc net.Conn) {
		c := nc
		if cert != nil {
			c = tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{*cert}})
		}
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			target := req.URL.Path
			full := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(target), target)
			mood := rand.IntN(moods)
			if mood >= 1 && mood <= 3 {
				pause(time.Duration(rand.IntN(6)) * time.Millisecond)
			}
			switch mood {
			case 4: // half a head, and then the rest, perhaps to nobody
				_, _ = io.WriteString(c, full[:12])
				pause(time.Duration(rand.IntN(6)) * time.Millisecond)
				full = full[12:]
			case 5:
				full = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + full
			case 6: // hang
				_, _ = r.ReadByte()
				return
			case 7: // half a head, and hang
				_, _ = io.WriteString(c, full[:20])
				_, _ = r.ReadByte()
				return
			case 8:
				return
			case 9:
				_ = nc.(*net.TCPConn).SetLinger(0)
				return
			}
			if _, err := io.WriteString(c, full); err != nil {
				return
			}
		}
	})
}

// TestHedgeRace sends 2,000 requests that race each other's hedges to origins of
// which one does all that can go wrong. Every request gets its own answer, and
// nothing is left behind.
func TestHedgeRace(t *testing.T) {
	const clients, each = 8, 250 // 2,000 in all
	cert, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for scheme, cert := range map[string]*tls.Certificate{"http": nil, "https": cert} {
		t.Run(scheme, func(t *testing.T) {
			before := testkit.Goroutines()
			t.Run("requests", func(t *testing.T) {
				// The second one answers always, though late at times.
				e := testkit.StartEdge(t, hedged(scheme, "2ms", startMoody(t, cert, 10), startMoody(t, cert, 6)))
				addr := e.At("http").String()
				var work sync.WaitGroup
				for n := range clients {
					work.Go(func() { askOwn(t, addr, n, each) })
				}
				work.Wait()
				hedges := 0
				for _, tries := range loggedTries(t, e) {
					hedges += strings.Count(tries, "+hedge")
				}
				if hedges == 0 {
					t.Error("no request was hedged")
				}
				t.Logf("%d requests were hedged", hedges)
				if log := e.Log.String(); strings.Contains(log, "panic") || strings.Contains(log, "BUG") {
					t.Errorf("the edge's log: %s", log)
				}
			})
			if left := testkit.Leaked(before); len(left) > 0 {
				t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
			}
		})
	}
}

// askOwn asks for targets that nobody else asks for, and leaves now and then
// before there is an answer.
func askOwn(t *testing.T, addr string, client, requests int) {
	var c net.Conn
	var r *bufio.Reader
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for i := range requests {
		if c == nil {
			var err error
			if c, err = net.Dial("tcp", addr); err != nil {
				t.Error(err)
				return
			}
			r = bufio.NewReader(c)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		target := fmt.Sprintf("/%d/%d", client, i)
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: shop.test\r\n\r\n", target); err != nil {
			t.Error(err)
			return
		}
		if i%50 == 49 {
			c.Close()
			c = nil
			continue
		}
		resp, err := http.ReadResponse(r, nil)
		for err == nil && resp.StatusCode == http.StatusEarlyHints {
			resp, err = http.ReadResponse(r, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", target, err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 || string(body) != target {
			t.Errorf("asked for %s and got %d %q, %v", target, resp.StatusCode, body, err)
			return
		}
	}
}

// TestHedgeReload changes everything while a request waits: it is hedged as the
// snapshot says that it came under.
func TestHedgeReload(t *testing.T) {
	first, second := startHeldOrigin(t), startHeldOrigin(t)
	e := testkit.StartEdge(t, hedged("http", "300ms", first.addr, second.addr))
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, request)
	wait(t, "the request", first.arrived)
	if err := e.Use(shop(startOrigin(t))); err != nil {
		t.Fatal(err)
	}
	wait(t, "the hedge", second.arrived)
	close(second.release)
	r := bufio.NewReader(c)
	if _, err := ask(c, r, ""); err != nil {
		t.Errorf("the request that was hedged: %v", err)
	}
	wait(t, "the connection of the loser to close", first.gone)
	if _, err := ask(c, r, request); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

// TestHedgeDrain drains the edge while two tries are under way: the answer is
// still waited for, until the drain's time is over, which ends both.
func TestHedgeDrain(t *testing.T) {
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut %v", cut), func(t *testing.T) {
			before := testkit.Goroutines()
			t.Run("drain", func(t *testing.T) {
				first, second := startHeldOrigin(t), startHeldOrigin(t)
				e := testkit.StartEdge(t, hedged("http", "10ms", first.addr, second.addr))
				c := dial(t, e.At("http").String())
				_, _ = io.WriteString(c, request)
				wait(t, "the request", first.arrived)
				wait(t, "the hedge", second.arrived)
				patient := patience
				if cut {
					patient = 100 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), patient)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- e.Shutdown(ctx) }()
				if !cut {
					close(second.release)
					if _, err := ask(c, bufio.NewReader(c), ""); err != nil {
						t.Fatalf("the exchange under way: %v", err)
					}
				}
				isClosed(t, c)
				if err := <-done; err != nil {
					t.Errorf("shutting down: %v", err)
				}
				wait(t, "the first connection to close", first.gone)
				wait(t, "the second connection to close", second.gone)
			})
			if left := testkit.Leaked(before); len(left) > 0 {
				t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
			}
		})
	}
}

// TestHedgeClientGone shows that a client that leaves ends both tries.
func TestHedgeClientGone(t *testing.T) {
	first, second := startHeldOrigin(t), startHeldOrigin(t)
	e := testkit.StartEdge(t, hedged("http", "10ms", first.addr, second.addr))
	c := dial(t, e.At("http").String())
	_, _ = io.WriteString(c, request)
	wait(t, "the request", first.arrived)
	wait(t, "the hedge", second.arrived)
	c.Close()
	wait(t, "the first connection to close", first.gone)
	wait(t, "the second connection to close", second.gone)
	if got := loggedTries(t, e); len(got) != 1 || got[0] != "failed failed+hedge" {
		t.Errorf("the log tells of tries %q", got)
	}
}

// startSlowOrigin starts an origin that takes its time for every answer.
func startSlowOrigin(t *testing.T, wait time.Duration) (addr string) {
	t.Helper()
	return testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for readHead(r) == nil {
			pause(wait)
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

// pause waits: it is what a slow origin does.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// TestHedgeBudget sends requests that are all slow: of a hundred no more are
// hedged than the budget says.
func TestHedgeBudget(t *testing.T) {
	const requests, percent = 100, 7
	config := hedged("http", "2ms", startSlowOrigin(t, 20*time.Millisecond), startSlowOrigin(t, 20*time.Millisecond))
	config = strings.Replace(config, "percent: 100, min_per_second: 100000", fmt.Sprintf("percent: %d, min_per_second: 0", percent), 1)
	e := testkit.StartEdge(t, config)
	c := dial(t, e.At("http").String())
	r := bufio.NewReader(c)
	for range requests {
		if _, err := ask(c, r, request); err != nil {
			t.Fatal(err)
		}
	}
	hedges := 0
	for _, tries := range loggedTries(t, e) {
		hedges += strings.Count(tries, "+hedge")
	}
	if hedges != requests*percent/100 {
		t.Errorf("%d of %d requests were hedged, want %d%%", hedges, requests, percent)
	}
}

// TestHedgeTurnedOn shows that a reload which changes nothing else turns hedging
// on and off.
func TestHedgeTurnedOn(t *testing.T) {
	targets := []string{startSlowOrigin(t, 100*time.Millisecond), startSlowOrigin(t, 100*time.Millisecond)}
	e := testkit.StartEdge(t, hedged("http", "0s", targets...))
	ask := func() {
		if status, _ := get(t, e, "/"); status != 200 {
			t.Errorf("status %d", status)
		}
	}
	ask()
	for _, delay := range []string{"5ms", "0s"} {
		if err := e.Use(hedged("http", delay, targets...)); err != nil {
			t.Fatal(err)
		}
		ask()
	}
	if got := loggedTries(t, e); len(got) != 3 || got[0] != "" || !strings.Contains(got[1], "+hedge") || got[2] != "" {
		t.Errorf("the log tells of tries %q, want only the second one to be hedged", got)
	}
}
