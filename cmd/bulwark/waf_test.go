package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const wafEvents = `{"request":{"id":"00000000000000000000000000000001"},"reason":"waf"}
{"request_id":"00000000000000000000000000000001","client":"192.0.2.7","server":"192.0.2.1","method":"GET","target":"/?id=1\u001b[2J","route":"shop","mode":"block","action":"deny","status":403,"rule":949110,"matches":[{"rule":942100,"phase":2,"paranoia_level":1,"message":"SQL\u001b[2J Injection","targets":[{"variable":"ARGS:id\u001b","value":"1\u001b[2J"}]}],"scores":{"inbound":{"blocking":5,"detection":5,"levels":[5,0,0,0],"threshold":5},"outbound":{"blocking":0,"detection":0,"levels":[0,0,0,0],"threshold":4}},"uninspected":["request_body: limit"]}
`

// TestWAFExplain reads an event from a log that holds other lines too.
func TestWAFExplain(t *testing.T) {
	log := filepath.Join(t.TempDir(), "waf.log")
	if err := os.WriteFile(log, []byte(strings.Repeat("0", maxEventLine+1)+"\n"+wafEvents), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := wafCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(append([]string{"explain"}, args...))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	got, err := run("--log", log, "00000000000000000000000000000001")
	want := `GET "/?id=1\x1b[2J" from 192.0.2.7, route "shop"
mode block, action deny with 403, by rule 949110
inbound score 5 of 5; by paranoia level: [5 0 0 0]
rule 942100, phase 2, paranoia level 1: "SQL\x1b[2J Injection"
    "ARGS:id\x1b" = "1\x1b[2J"
not inspected: request_body: limit
`
	if err != nil || got != want {
		t.Errorf("%v, %s", err, got)
	}
	if _, err := run("--log", log, "00000000000000000000000000000002"); err == nil || !strings.Contains(err.Error(), "tells nothing of the request") {
		t.Errorf("an unknown id: %v", err)
	}
	for node, want := range map[string]string{
		"waf: off": "node.log.waf is off", "waf: stdout": "by --log", "waf: /tmp/a, waf_format: modsecurity": `"modsecurity"`,
	} {
		path := filepath.Join(t.TempDir(), "bulwark.yaml")
		if err := os.WriteFile(path, []byte("_format_version: \"3.0\"\nnode: {log: {"+node+"}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := run("--config", path, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", node, err)
		}
	}
}
