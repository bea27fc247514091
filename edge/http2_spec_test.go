package edge_test

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// specCases is how many cases h2spec has; more or fewer are another h2spec, or
// one that has given up.
const specCases = 146

// TestIntegrationHTTP2Spec runs every case of h2spec, also those that the
// standards only recommend, over TLS and without.
func TestIntegrationHTTP2Spec(t *testing.T) {
	t.Parallel()
	program := testkit.Tool(t, "h2spec")
	e := testkit.StartEdge(t, `node:
  log: {access: off}
  listeners:
  - {name: http, address: "127.0.0.1:0"}
  - {name: alone, address: "127.0.0.1:0", http1: false}
  - {name: https, address: "127.0.0.1:0", serve: https}
`+shop(startLongOrigin(t)))
	for _, tt := range []struct {
		listener string
		args     []string
		failing  []string
	}{
		{"https", []string{"-t", "-k"}, nil},
		{"alone", nil, nil},
		// Where HTTP/1 is spoken too, what is no preface is a request of HTTP/1, and
		// is answered as one.
		{"http", nil, []string{"http2/3.5: Sends invalid connection preface"}},
	} {
		t.Run(tt.listener, func(t *testing.T) {
			t.Parallel()
			at := e.At(tt.listener)
			runSpec(t, program, at.Addr().String(), int(at.Port()), tt.args, tt.failing)
		})
	}
}

// startLongOrigin starts an upstream whose answers are long enough for h2spec to
// open windows by parts of them.
func startLongOrigin(t *testing.T) (addr string) {
	return testkit.StartTCP(t, func(c net.Conn) {
		for r := bufio.NewReader(c); readHead(r) == nil; {
			if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n%0100d", 0); err != nil {
				return
			}
		}
	})
}

// specReport is what h2spec tells.
type specReport struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Name    string  `xml:"package,attr"`
			Title   string  `xml:"classname,attr"`
			Failure *string `xml:"failure"`
			Error   *string `xml:"error"`
			Skipped *string `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func runSpec(t *testing.T, program, host string, port int, args, failing []string) {
	path := filepath.Join(t.TempDir(), "report.xml")
	args = append([]string{"-h", host, "-p", strconv.Itoa(port), "--strict", "--timeout", strconv.Itoa(int(patience.Seconds())), "-j", path}, args...)
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if (err != nil) != (len(failing) > 0) {
		t.Errorf("h2spec: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; h2spec says\n%s", err, out)
	}
	var report specReport
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	n, failed := 0, []string{}
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			n++
			if c.Skipped != nil {
				t.Errorf("%s: %s: skipped", c.Name, c.Title)
			}
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, c.Name+": "+c.Title)
			}
		}
	}
	if n != specCases {
		t.Errorf("%d cases were run, want %d", n, specCases)
	}
	if diff := cmp.Diff(failing, failed, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("failing cases (-want +got):\n%s\n%s", diff, out)
	}
}
