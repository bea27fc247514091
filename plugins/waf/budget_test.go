package waf_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// TestPitfallOneBudget: content that waits to be inspected counts in one budget
// for all exchanges, requests and responses, and is given back.
func TestPitfallOneBudget(t *testing.T) {
	page := "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 900000\r\n\r\n" + strings.Repeat("x", 900_000)
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
				answer = page
			}
			if req.URL.Path == "/page/slow" {
				if _, err := io.WriteString(c, page[:len(page)-1]); err != nil {
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
	for range 5 { // what was taken is given back
		if got := post(300 << 10); got != 204 {
			t.Errorf("content that has room is answered with %d", got)
		}
		wantStatus(t, e, "/page", 200)
	}
	done := make(chan int)
	go func() {
		status, _ := ask(t, e, "GET", "/page/slow", nil)
		done <- status
	}()
	<-arrived
	for held := false; !held; { // the edge reads the page in its own time
		held = post(300<<10) == 503
	}
	wantStatus(t, e, "/", 204) // what needs no room is served
	close(proceed)
	if got := <-done; got != 200 {
		t.Errorf("the answer that had the room is %d", got)
	}
	if got := post(300 << 10); got != 204 {
		t.Errorf("afterwards content is answered with %d", got)
	}
}
