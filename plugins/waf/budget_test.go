package waf_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestPitfallOneBudget: content that waits to be inspected counts in one budget
// for all exchanges, requests and responses, and is given back.
func TestPitfallOneBudget(t *testing.T) {
	t.Parallel()
	answerPage := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 500000\r\n\r\n" + strings.Repeat("x", 500_000)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	at := testkit.StartTCP(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			answer := noContent
			if strings.HasPrefix(req.URL.Path, "/page") {
				answer = answerPage
			}
			if req.URL.Path == "/page/slow" {
				if _, err := io.WriteString(c, answerPage[:len(answerPage)-1]); err != nil {
					return
				}
				arrived <- struct{}{}
				<-proceed
				answer = "x"
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
	e := testkit.StartEdge(t, guarded(at, "limits: {body_buffers: 1MiB}", "request_body: {limit: 2MiB}, response_body: {limit: 2MiB}, allowed_content_types: [application/octet-stream], exclusions: [{rules: [950000-958999]}]"))
	post := func(n int64) int {
		status, _ := ask(t, e, "POST", "/", &zeros{n}, "Content-Type", "application/octet-stream")
		return status
	}
	if got := post(1200 << 10); got != 503 {
		t.Errorf("content that has no room is answered with %d", got)
	}
	// Room is given back when an exchange has ended, just after its answer.
	eventually := func(want int, get func() int) {
		t.Helper()
		for began := time.Now(); get() != want; {
			if time.Since(began) > patience {
				t.Fatalf("no answer is a %d", want)
			}
		}
	}
	page := func() int {
		status, _ := ask(t, e, "GET", "/page", nil)
		return status
	}
	for range 3 {
		eventually(204, func() int { return post(700 << 10) })
		eventually(200, page)
	}
	eventually(204, func() int { return post(700 << 10) })
	done := make(chan int)
	go func() {
		status, _ := ask(t, e, "GET", "/page/slow", nil)
		done <- status
	}()
	<-arrived
	eventually(503, func() int { return post(700 << 10) }) // the edge reads the page in its own time
	wantStatus(t, e, "/", 204)                             // what needs no room is served
	close(proceed)
	if got := <-done; got != 200 {
		t.Errorf("the answer that had the room is %d", got)
	}
	eventually(204, func() int { return post(700 << 10) })
}
