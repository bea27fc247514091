package bench

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{[]float64{5}, 5}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 9, 1, 2}, 3}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median of %v: got %v, want %v", tt.in, got, tt.want)
		}
	}
}

// standing makes a contestant's turns from their costs; a negative one failed.
func standing(name string, errs float64, costs ...float64) Standing {
	st := Standing{Contestant: name}
	for i, c := range costs {
		turn := Turn{Round: i + 1}
		if c < 0 {
			turn.Failure = "it fell over"
		} else {
			turn.Figures = Figures{Cost: c, CPUMicrosPerRequest: c, RequestsPerSecond: 1e6 / c, CPUPercent: 99.6, P50Micros: 700, P99Micros: 1234, ResidentBytes: 2e7, Errors: errs}
		}
		st.Turns = append(st.Turns, turn)
	}
	return st
}

func TestSettle(t *testing.T) {
	nginxBar := &bar{peer: "nginx", factor: 0.8}
	tests := []struct {
		name      string
		bar       *bar
		standings []Standing
		want      *Bar
	}{
		{"met", nginxBar, []Standing{standing("bulwark", 0, 9, 7, 8), standing("nginx", 0, 10)}, &Bar{Text: "at most 0.80 of nginx", Value: 0.8, Limit: 0.8, Met: true}},
		{"not met", nginxBar, []Standing{standing("bulwark", 0, 9), standing("nginx", 0, 10)}, &Bar{Text: "at most 0.80 of nginx", Value: 0.9, Limit: 0.8}},
		{"errors", nginxBar, []Standing{standing("bulwark", 1, 8), standing("nginx", 0, 10)}, &Bar{Text: "at most 0.80 of nginx", Value: 0.8, Limit: 0.8}},
		{"a failed turn does not count", nginxBar, []Standing{standing("bulwark", 0, 8, -1), standing("nginx", 0, 10, 10)}, &Bar{Text: "at most 0.80 of nginx", Value: 0.8, Limit: 0.8, Met: true}},
		{"peer failed", nginxBar, []Standing{standing("bulwark", 0, 8), standing("nginx", 0, -1)}, nil},
		{"bulwark failed", nginxBar, []Standing{standing("bulwark", 0, -1), standing("nginx", 0, 8)}, nil},
		{"peer absent", nginxBar, []Standing{standing("bulwark", 0, 8), standing("haproxy", 0, 8)}, nil},
		{"bulwark absent", nginxBar, []Standing{standing("nginx", 0, 8)}, nil},
		{"absolute", &bar{limit: 10240}, []Standing{standing("bulwark", 0, 9000)}, &Bar{Text: "at most 10240 CPU us/request", Value: 9000, Limit: 10240, Met: true}},
		{"no bar", nil, []Standing{standing("bulwark", 0, 8), standing("nginx", 0, 8)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := ScenarioReport{CostUnit: perRequest, Standings: tt.standings}
			s.settle(tt.bar)
			if diff := cmp.Diff(tt.want, s.Bar); diff != "" {
				t.Errorf("bar (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarkdown(t *testing.T) {
	s := ScenarioReport{
		Name: "http1-64", Title: "a title", CostUnit: perRequest, Command: "wrk URL",
		Standings: []Standing{standing("bulwark", 0, 9, 7, 8), standing("nginx", 2, 10, 12), standing("haproxy", 0, -1)},
	}
	s.settle(&bar{peer: "nginx", factor: 1})
	r := &Report{Scenarios: []ScenarioReport{s}, Machine: Machine{SharedCore: true}}
	_, got, _ := strings.Cut(r.markdown(), "\n## ")
	want := strings.ReplaceAll(`http1-64

a title

'wrk URL'

| contestant | CPU us/request | range | of nginx | of haproxy | requests/s | p50 ms | p99 ms | core % | resident MB | errors |
|---|---|---|---|---|---|---|---|---|---|---|
| bulwark | 8.00 | 7.00 to 9.00 | 0.73 | - | 125000 | 0.70 | 1.23 | 100 | 20.0 | 0 |
| nginx | 11.00 | 10.00 to 12.00 | 1 | - | 91667 | 0.70 | 1.23 | 100 | 20.0 | 4 |
| haproxy | 0.00 | 0.00 to 0.00 | - | 1 | 0 | 0.00 | 0.00 | 0 | 0.0 | 0 |

## Bars

| bar | wanted | measured | met |
|---|---|---|---|
| http1-64 | at most 1.00 of nginx | 0.73 | yes |

## Failed turns

'''
scenario "http1-64", round 1, haproxy: it fell over
'''
`, "'", "`")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("markdown (-want +got):\n%s", diff)
	}
	if !strings.Contains(r.markdown(), "threads of one core") {
		t.Error("the warning of a shared core is missing")
	}
}

func TestParseWrk(t *testing.T) {
	good := "Running 1s test\nreport {\"requests\":10,\"bytes\":20,\"duration\":1000000,\"p50\":1,\"p99\":2,\"max\":3,\"connect\":1,\"read\":2,\"write\":3,\"timeout\":4,\"status\":5}\n"
	rep, err := parseWrk(good)
	if err != nil || rep.Requests != 10 || rep.P99 != 2 || rep.errors() != 15 {
		t.Errorf("got %+v, %v", rep, err)
	}
	for out, want := range map[string]string{
		"unable to connect\n":                             "wrk printed no report; its output was:\nunable to connect",
		"report {\n":                                      "reading wrk's report",
		strings.Replace(good, ":10,", ":0,", 1):           "wrk got no answer",
		strings.Replace(good, "report {", "report: {", 1): "wrk printed no report",
	} {
		if _, err := parseWrk(out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want a mention of %q", out, err, want)
		}
	}
}

func TestInCPUList(t *testing.T) {
	for _, tt := range []struct {
		list string
		cpu  int
		want bool
	}{{"0", 0, true}, {"0", 1, false}, {"0-1", 1, true}, {"0,64", 64, true}, {"0-2,7", 3, false}, {"", 0, false}} {
		if got := inCPUList(tt.list, tt.cpu); got != tt.want {
			t.Errorf("%d in %q: got %t", tt.cpu, tt.list, got)
		}
	}
}

// TestBulwarkConfig checks what Bulwark is told, with and without logs.
func TestBulwarkConfig(t *testing.T) {
	pair, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	for _, logs := range []bool{false, true} {
		dir := t.TempDir()
		p := program{name: subject, path: "bulwark", template: "bulwark.yaml", args: func(c string) []string { return []string{"run", "--config", c} }}
		argv, err := p.render(&settings{Dir: dir, HTTP: 1, HTTPS: 2, Origin: 3, Logs: logs, CertPEM: pair.certPEM, KeyPEM: pair.keyPEM})
		if err != nil {
			t.Fatal(err)
		}
		config := dir + "/bulwark.yaml"
		if diff := cmp.Diff([]string{"bulwark", "run", "--config", config}, argv); diff != "" {
			t.Errorf("command (-want +got):\n%s", diff)
		}
		c, err := readBenchConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		access := "off"
		if logs {
			access = dir + "/access.log"
		}
		if c.Node.Log.Access != access || c.Node.Listeners[1].Address != "127.0.0.1:2" || c.Services[0].URL != "http://127.0.0.1:3" ||
			c.Certificates[0].Cert != pair.certPEM || c.Certificates[0].Key != pair.keyPEM || c.Certificates[0].SNIs[0] != "localhost" {
			t.Errorf("logs %t: got %+v", logs, c)
		}
		info, err := os.Stat(config)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the configuration holds a key; got %v, %v", info.Mode(), err)
		}
	}
}

func TestMissingPackage(t *testing.T) {
	_, err := lookPath("no-such-server")
	if err == nil || err.Error() != "no-such-server is not installed; install it with: apt-get install no-such-server" {
		t.Errorf("got %v", err)
	}
}
