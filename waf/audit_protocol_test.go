package waf

import "testing"

// TestAuditTellsProtocol: the response's version of HTTP is that of the upstream.
func TestAuditTellsProtocol(t *testing.T) {
	var engines Engines
	r, err := NewRules(nil, `SecAction "id:1,phase:1,pass,log"`)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engines.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Profile(Settings{Mode: Block})
	if err != nil {
		t.Fatal(err)
	}
	i := p.Begin(sampleConnection)
	i.Audit(&AuditSettings{ResponseFields: true})
	i.TellAlways()
	i.RequestHead(&RequestHead{Method: "GET", Target: "/", Proto: "HTTP/1.1", Fields: &sampleFields{}})
	i.RequestBody(nil, true)
	i.ResponseHead(&ResponseHead{Status: 200, Proto: "HTTP/2", Fields: &sampleFields{}})
	i.ResponseBody(nil, true)
	if ev := i.End(); ev == nil || ev.Record.Transaction.Response.Protocol != "HTTP/2" {
		t.Errorf("the event is %+v", ev)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := engines.Close(); err != nil {
		t.Error(err)
	}
}
