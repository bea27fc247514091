package waf

import (
	"bytes"
	"slices"
	"testing"
	"testing/fstest"
)

// TestBusy shows that a large body which gets no turn is denied, or passes
// uninspected if the profile says so, and that a small one needs none.
func TestBusy(t *testing.T) {
	r, err := NewRules(fstest.MapFS{}, "SecRuleEngine On\nSecRequestBodyAccess On\nSecRule REQUEST_BODY \"@contains bad\" \"id:1,phase:2,deny,status:403\"\n")
	if err != nil {
		t.Fatal(err)
	}
	var all Engines
	e, err := all.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := all.Close(); err != nil {
			t.Error(err)
		}
	})
	inspect := func(failOpen bool, body []byte) (Verdict, bool) {
		p, err := e.Profile(Settings{Mode: Block, FailOpen: failOpen})
		if err != nil {
			t.Fatal(err)
		}
		i := p.Begin(Connection{})
		i.RequestHead(&RequestHead{Method: "POST", Target: "/", Proto: "HTTP/1.1", Fields: noFields{}})
		v := i.RequestBody(body, true)
		event := i.End()
		return v, event != nil && slices.Contains(event.Uninspected, "request_body: busy")
	}
	large := bytes.Repeat([]byte("a"), smallBody+1)
	for range 2 * cap(all.turns.taken) { // turns are given back
		if v, busy := inspect(false, large); v.Action != Pass || busy {
			t.Fatalf("without others: %+v, %v", v, busy)
		}
	}
	all.turns.wait = 0
	for range cap(all.turns.taken) {
		all.turns.take()
	}
	if v, busy := inspect(false, large); v.Action != Deny || v.Status != 503 || !busy {
		t.Errorf("closed: %+v, %v", v, busy)
	}
	if v, busy := inspect(true, large); v.Action != Pass || !busy {
		t.Errorf("open: %+v, %v", v, busy)
	}
	if v, busy := inspect(false, large[:smallBody]); v.Action != Pass || busy {
		t.Errorf("small: %+v, %v", v, busy)
	}
}

// noFields are those of a head without any.
type noFields struct{}

func (noFields) Len() int                { return 0 }
func (noFields) At(int) (string, string) { return "", "" }
