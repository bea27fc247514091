package edge_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// http2Node has a listener of each kind that speaks HTTP/2.
const http2Node = `node:
  log: {access: off}
  listeners:
  - {name: http, address: "127.0.0.1:0"}
  - {name: https, address: "127.0.0.1:0", serve: https}
`

// output runs a program and returns what it prints.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("running %s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// TestIntegrationHTTP2 lets real clients talk HTTP/2, over TLS and without.
func TestIntegrationHTTP2(t *testing.T) {
	e := testkit.StartEdge(t, http2Node+shop(startOrigin(t)))
	plain, secure := "http://"+e.At("http").String(), "https://"+e.At("https").String()
	const tell = "%{http_version} %{http_code}"
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"curl over TLS", "2 200", []string{"curl", "-sk", "-o", os.DevNull, "-w", tell, secure + "/"}},
		{"curl that wants HTTP/1.1", "1.1 200", []string{"curl", "-sk", "--http1.1", "-o", os.DevNull, "-w", tell, secure + "/"}},
		{"curl with prior knowledge", "2 200", []string{"curl", "-s", "--http2-prior-knowledge", "-o", os.DevNull, "-w", tell, plain + "/"}},
		{"curl without", "1.1 200", []string{"curl", "-s", "-o", os.DevNull, "-w", tell, plain + "/"}},
		{"curl that asks for an upgrade", "1.1 200", []string{"curl", "-s", "--http2", "-o", os.DevNull, "-w", tell, plain + "/"}},
		{"nghttp", "200", []string{"nghttp", "-ns", plain + "/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := output(t, tt.args[0], tt.args[1:]...); !strings.Contains(got, tt.want) {
				t.Errorf("it prints %q, want %q", got, tt.want)
			}
		})
	}
}

// TestIntegrationHTTP2Reloads shows that no request over HTTP/2 is lost while the
// configuration changes under load.
func TestIntegrationHTTP2Reloads(t *testing.T) {
	dir, origin := t.TempDir(), startOrigin(t)
	all := variants(dir, origin)
	for i := range all {
		all[i] = strings.Replace(all[i], "  listeners:\n", "  listeners:\n    - {name: https, address: \"127.0.0.1:0\", serve: https}\n", 1)
	}
	e := testkit.StartEdge(t, all[0])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const requests = 20000
	load := exec.CommandContext(ctx, "h2load", "-n", fmt.Sprint(requests), "-c", "4", "-m", "16", "https://"+e.At("https").String()+"/")
	var out bytes.Buffer
	load.Stdout, load.Stderr = &out, &out
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- load.Wait() }()
	n := 0
	for ended := false; !ended; n++ {
		if err := e.Use(all[n%len(all)]); err != nil {
			t.Fatalf("reload %d: %v", n, err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("h2load: %v\n%s", err, out.String())
			}
			ended = true
		default:
		}
	}
	want := fmt.Sprintf("%d done, %d succeeded, 0 failed, 0 errored, 0 timeout", requests, requests)
	if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), fmt.Sprintf("status codes: %d 2xx", requests)) {
		t.Errorf("over %d reloads h2load tells\n%s", n, out.String())
	}
	t.Logf("%d requests over %d reloads", requests, n)
}

// TestHTTP2Misdirected shows that a stream is held against what the handshake for
// its host asks, as a request of HTTP/1 is.
func TestHTTP2Misdirected(t *testing.T) {
	e := testkit.StartEdge(t, answering(`  tls:
    policies:
    - {name: own, snis: [own.test]}
  listeners:
  - {name: https, address: "127.0.0.1:0", serve: https}
`, ""))
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	client := &http.Transport{Protocols: protocols, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		return tls.Dial("tcp", e.At("https").String(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}}
	defer client.CloseIdleConnections()
	for _, tt := range []struct {
		host string
		want int
	}{{"a.test", 200}, {"own.test", 421}, {"b.test", 200}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+tt.host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.want || resp.ProtoMajor != 2 {
			t.Errorf("%s is answered %d, want %d", tt.host, resp.StatusCode, tt.want)
		}
	}
}

// TestHTTP2Allocations counts what a plain exchange over HTTP/2 allocates in the
// whole process, beside what one over HTTP/1.1 does: the frame, and the id, which
// has no head to be a part of.
func TestHTTP2Allocations(t *testing.T) {
	const exchanges = 4000
	e := testkit.StartEdge(t, http2Node+shop(startQuietOrigin(t)))
	c, err := net.Dial("tcp", e.At("http").String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var block, out bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fr := http2.NewFramer(&out, nil)
	out.WriteString(http2.ClientPreface)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	_ = fr.WriteWindowUpdate(0, 1<<30)
	id := uint32(1)
	read := make([]byte, 4<<10)
	serve := func(n int) {
		for range n {
			block.Reset()
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", "/"}, {"accept", "*/*"}} {
				_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
			id += 2
			if _, err := c.Write(out.Bytes()); err != nil {
				t.Fatal(err)
			}
			out.Reset()
			for got := 0; !bytes.HasSuffix(read[:got], []byte("ok")); {
				n, err := c.Read(read[got:])
				if err != nil {
					t.Fatalf("reading the answer: %v after %q", err, read[:got])
				}
				got += n
			}
		}
	}
	serve(200)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	serve(exchanges)
	runtime.ReadMemStats(&after)
	per := float64(after.Mallocs-before.Mallocs) / exchanges
	t.Logf("%.3f allocations and %d bytes for each exchange", per, (after.TotalAlloc-before.TotalAlloc)/exchanges)
	if most := float64(mostAllocs + 1); per > most {
		t.Errorf("%.3f allocations for each exchange, want at most %v", per, most)
	}
}
