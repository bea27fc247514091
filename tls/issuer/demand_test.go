package issuer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestDemandStored shows that what is stored counts after a restart for names that are
// still allowed, without asking anybody, and for no others.
func TestDemandStored(t *testing.T) {
	ca := newFakeCA(t)
	n, records, terms := demandNode(t, Demand{Allow: []string{"*.many.test"}, PerMinute: 100, Most: 10}, ca)
	first := n.get("a.many.test")
	n.stop()
	asked := ca.all()
	var questions atomic.Int64
	who := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { questions.Add(1) }))
	defer who.Close()
	for _, tt := range []struct {
		name   string
		demand *Demand
		want   bool
	}{
		{"another pattern", &Demand{Allow: []string{"*.other.test"}, PerMinute: 100, Most: 10}, false},
		{"another pattern, and a question", &Demand{Allow: []string{"*.other.test"}, Ask: who.URL, PerMinute: 100, Most: 10}, false},
		{"nothing on demand", nil, false},
		{"the name", &Demand{Allow: []string{"a.many.test"}, PerMinute: 100, Most: 10}, true},
		{"a question", &Demand{Ask: who.URL, PerMinute: 100, Most: 10}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			terms.Demand = tt.demand
			again := startNode(t, records, terms)
			c, err := again.GetCertificate(&tls.ClientHelloInfo{ServerName: "a.many.test"})
			if err != nil || (c != nil) != tt.want || c != nil && !c.Leaf.Equal(first.Leaf) {
				t.Errorf("got %v, %v", c, err)
			}
			again.stop()
			if now := ca.all(); now != asked {
				t.Errorf("the authority was asked %d times", now-asked)
			}
		})
	}
	if questions.Load() != 0 {
		t.Errorf("it was asked %d times whether what is stored may be ordered", questions.Load())
	}
}

// TestDemandRefusedLater shows that a name that may not be ordered any more is not
// renewed, and not served after the end of its certificate.
func TestDemandRefusedLater(t *testing.T) {
	ca := newFakeCA(t)
	ca.leaf = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(3 * time.Second) }
	var refuse atomic.Bool
	who := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuse.Load() {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer who.Close()
	terms := termsOf(nil, ca)
	terms.Demand, terms.Window, terms.Backoff = &Demand{Ask: who.URL, PerMinute: 100, Most: 10}, 0.9, time.Millisecond
	n := startNode(t, openRecords(t), terms)
	if n.get("gone.test") == nil {
		t.Fatal("a name that may be ordered is not served")
	}
	refuse.Store(true)
	orders := ca.count("/new")
	for until := time.Now().Add(patience); n.status("gone.test").Name != ""; time.Sleep(5 * time.Millisecond) {
		if n.status("gone.test").Until.After(time.Now().Add(time.Second)) {
			_ = n.get("gone.test") // clients come while it is good
		}
		if time.Now().After(until) {
			t.Fatalf("it is still held: %+v\n%s", n.status("gone.test"), n.log)
		}
	}
	if now := ca.count("/new"); now != orders || !strings.Contains(n.log.String(), "may not be ordered any more") {
		t.Errorf("%d were ordered\n%s", now-orders, n.log)
	}
	if n.get("gone.test") != nil {
		t.Error("it is served")
	}
}

// TestDemandForgotten shows that names that cannot be ordered make room: whoever can
// make up names that are allowed must not use up all there is.
func TestDemandForgotten(t *testing.T) {
	ca := newFakeCA(t)
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		bad := r.URL.Path == "/new"
		if bad {
			problem(w, 403, "rejectedIdentifier")
		}
		return bad
	}
	terms := termsOf(nil, ca)
	terms.Demand, terms.Backoff, terms.Steady = &Demand{Allow: []string{"*.test"}, PerMinute: 10000, Most: 1}, time.Second, true
	n := startNode(t, openRecords(t), terms)
	if _, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: "made-up.test"}); !errors.Is(err, errNotYet) {
		t.Fatalf("got the error %v, want %v", err, errNotYet)
	}
	ca.set(func() { ca.disturb = nil })
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		c, err := n.GetCertificate(&tls.ClientHelloInfo{ServerName: "real.test"})
		if c != nil {
			break
		}
		if !errors.Is(err, errTooMany) || time.Now().After(until) {
			t.Fatalf("got the error %v\n%s", err, n.log)
		}
	}
	if n.status("made-up.test").Name != "" {
		t.Error("both are held")
	}
}

// TestDemandRenewalFails shows that a renewal on demand that went wrong is told and tried
// again, though no client has come meanwhile.
func TestDemandRenewalFails(t *testing.T) {
	ca := newFakeCA(t)
	terms := termsOf(nil, ca)
	terms.Demand = &Demand{Allow: []string{"*.test"}, PerMinute: 100, Most: 10}
	records := openRecords(t)
	n := startNode(t, records, terms)
	if n.get("shop.test") == nil {
		t.Fatal("it is not served")
	}
	ca.set(func() {
		ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
			bad := r.URL.Path == "/new"
			if bad {
				problem(w, 403, "rejectedIdentifier")
			}
			return bad
		}
	})
	terms.Window, terms.Backoff, terms.Steady = 1, 10*time.Millisecond, true // it is due
	orders := ca.count("/new")
	n.Use(t.Context(), records, []Terms{terms})
	n.look(t.Context(), n.subjects["shop.test"])
	for until := time.Now().Add(patience); ca.count("/new") < orders+3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it was tried %d times: %+v\n%s", ca.count("/new")-orders, n.status("shop.test"), n.log)
		}
	}
	if s := n.status("shop.test"); !strings.Contains(s.Error, "rejectedIdentifier") {
		t.Errorf("the status is %+v", s)
	}
}

// TestDemandAskedAgain shows that a name that could not be ordered is asked about again.
func TestDemandAskedAgain(t *testing.T) {
	ca := newFakeCA(t)
	ca.disturb = func(w http.ResponseWriter, r *http.Request) bool {
		bad := r.URL.Path == "/new"
		if bad {
			problem(w, 403, "rejectedIdentifier")
		}
		return bad
	}
	var asked atomic.Int64
	who := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 1 {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer who.Close()
	terms := termsOf(nil, ca)
	terms.Demand, terms.Backoff, terms.Steady = &Demand{Ask: who.URL, PerMinute: 100, Most: 10}, time.Second, true
	n := startNode(t, openRecords(t), terms)
	for until := time.Now().Add(patience); asked.Load() < 2 || n.status("gone.test").Name != ""; time.Sleep(5 * time.Millisecond) {
		if n.status("gone.test").Name != "" || asked.Load() == 0 {
			_, _ = n.GetCertificate(&tls.ClientHelloInfo{ServerName: "gone.test"}) // which has it tried again
		}
		if time.Now().After(until) {
			t.Fatalf("it was asked %d times: %+v\n%s", asked.Load(), n.status("gone.test"), n.log)
		}
	}
	if orders := ca.count("/new"); orders != 1 {
		t.Errorf("there were %d orders, want 1", orders)
	}
}
