package edge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// get asks the edge and returns the status and who answered.
func get(t *testing.T, e *testkit.Edge, path string) (status int, by string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + e.At("http").String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header.Get("X-Origin")
}

// startNamedOrigin starts an origin that answers with its name and a status.
func startNamedOrigin(t *testing.T, name string, status int) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Origin", name)
		w.WriteHeader(status)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return ln.Addr().String()
}

// TestHealthOverReloads shows that what traffic has shown of a target outlives
// reloads that leave the checks as they are, even with other targets, and that
// a change of the checks is a way to let it serve again.
func TestHealthOverReloads(t *testing.T) {
	bad, good, more := startNamedOrigin(t, "bad", 500), startNamedOrigin(t, "good", 200), startNamedOrigin(t, "more", 200)
	config := func(failures int, targets ...string) string {
		list := ""
		for _, target := range targets {
			list += "{target: '" + target + "'}, "
		}
		return shop("pool.internal") + fmt.Sprintf("upstreams: [{name: pool.internal, healthchecks: {passive: {unhealthy: {http_failures: %d}}}, targets: [%s]}]\n", failures, list)
	}
	e := testkit.StartEdge(t, config(1, bad, good))
	answers := func(n int) map[string]int {
		got := make(map[string]int)
		for range n {
			_, by := get(t, e, "/")
			got[by]++
		}
		return got
	}
	use := func(yaml string) {
		t.Helper()
		if err := e.Use(yaml); err != nil {
			t.Fatal(err)
		}
	}
	if got := answers(10); got["bad"] != 1 {
		t.Errorf("the target that fails was asked %d times, want once", got["bad"])
	}
	use(config(1, more, good, bad))
	if got := answers(10); got["bad"] != 0 || got["good"] != 5 || got["more"] != 5 {
		t.Errorf("after a reload: %v, want half each of good and more", got)
	}
	use(config(2, more, good, bad))
	if got := answers(12); got["bad"] != 2 {
		t.Errorf("after a change of the checks the target that fails was asked %d times, want twice", got["bad"])
	}
	use(config(2, bad))
	if status, _ := get(t, e, "/"); status != http.StatusServiceUnavailable {
		t.Errorf("with no other target: status %d, want 503", status)
	}
}

// TestHashing shows that requests of one user go to one target, by what the
// request holds, also where the route's path holds it.
func TestHashing(t *testing.T) {
	targets := ""
	for i := range 6 {
		targets += "{target: '" + startNamedOrigin(t, fmt.Sprint(i), 200) + "'}, "
	}
	e := testkit.StartEdge(t, `
services:
  - name: users
    url: http://pool.internal
    routes: [{name: users, paths: ["~/users/(?<user>[a-z0-9]+)"], strip_path: false}]
upstreams: [{name: pool.internal, hash_on: uri_capture, hash_on_uri_capture: user, hash_fallback: path, targets: [`+targets+`]}]
`)
	homes := make(map[string]int)
	for i := range 40 {
		_, first := get(t, e, fmt.Sprintf("/users/u%d/cart", i))
		_, second := get(t, e, fmt.Sprintf("/users/u%d/orders?x=%d", i, i))
		if first != second {
			t.Errorf("user %d: target %s and then %s", i, first, second)
		}
		homes[first]++
	}
	if len(homes) < 4 {
		t.Errorf("40 users share %d of 6 targets", len(homes))
	}
}
