package edge_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
	"github.com/bulwark-edge/bulwark/l7/h2"
)

// interopCases are the gRPC project's interoperability cases that need no cloud.
var interopCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response",
	"status_code_and_message", "special_status_message", "custom_metadata",
	"unimplemented_method", "unimplemented_service", "rpc_soak", "channel_soak",
}

// TestIntegrationGRPC lets the gRPC project's own client talk to its own server,
// in cleartext and over TLS on both legs, and with the WAF in between.
func TestIntegrationGRPC(t *testing.T) {
	t.Parallel()
	root := pki.NewCA(t, "Root")
	named := func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"grpc.test", "localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server, own := root.Client("upstream", named), root.Client("edge", named)
	keyOf := func(p pki.Pair) string {
		der, err := x509.MarshalPKCS8PrivateKey(p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	ca := file("ca.pem", string(pki.PEM(root.Cert)))
	cert, key := file("cert.pem", string(pki.PEM(server.Cert))), file("key.pem", keyOf(server))
	client := testkit.GRPCClient(t)
	for _, tt := range []struct {
		name    string
		secure  bool
		plugins string
	}{
		{"cleartext", false, ""},
		{"TLS", true, ""},
		{"with the WAF", false, "plugins: [{name: waf, config: {allowed_content_types: [application/grpc]}}]\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			yaml := http2Node + tt.plugins
			var addr, listener string
			if tt.secure {
				addr, listener = testkit.StartGRPC(t, cert, key), "https"
				yaml += fmt.Sprintf("certificates: [{cert: %q, key: %q, snis: [{name: grpc.test}]}]\n", pki.PEM(own.Cert), keyOf(own)) +
					fmt.Sprintf("ca_certificates: [{id: 0855b320-0dd2-547d-891d-000000000001, cert: %q}]\n", pki.PEM(root.Cert))
			} else {
				addr, listener = testkit.StartGRPC(t, "", ""), "http"
			}
			_, port, _ := net.SplitHostPort(addr)
			service := "protocol: grpc, host: 127.0.0.1"
			protocols := "[grpc, grpcs]"
			if tt.secure {
				service = "protocol: grpcs, host: localhost, tls_verify: true, ca_certificates: [0855b320-0dd2-547d-891d-000000000001]"
				protocols = "[grpcs]"
			}
			e := testkit.StartEdge(t, yaml+fmt.Sprintf("services: [{name: s, %s, port: %s, routes: [{name: r, protocols: %s, paths: [/]}]}]\n", service, port, protocols))
			for _, c := range interopCases {
				iterations := 20
				if c == "rpc_soak" { // on one connection, with a PING for each round of content
					iterations = 1500
				}
				args := []string{"--server_host", "127.0.0.1", "--server_port", fmt.Sprint(e.Port(listener)), "--test_case", c, "--soak_iterations", fmt.Sprint(iterations), "--soak_overall_timeout_seconds", "300", "--soak_per_iteration_max_acceptable_latency_ms", "30000"}
				if tt.secure {
					args = append(args, "--use_tls", "--use_test_ca", "--ca_file", ca, "--server_host_override", "grpc.test")
				}
				if out, err := exec.CommandContext(t.Context(), client, args...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v\n%s", c, err, out)
				}
			}
			if n := e.Metrics().HTTP2Glitches.Load(slices.Index(h2.GlitchNames(), "ping")); n != 0 {
				t.Errorf("%d PING are glitches", n)
			}
		})
	}
}

// h2cServer starts a server of cleartext HTTP/2.
func h2cServer(t *testing.T, serve http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(serve)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// h2Client returns a client that speaks HTTP/2 alone, in cleartext or over TLS.
func h2Client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tr.Protocols.SetHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func grpcService(s *httptest.Server, route string) string {
	return fmt.Sprintf("services: [{name: s, protocol: grpc, host: 127.0.0.1, port: %d, routes: [{name: r, %s}]}]\n", s.Listener.Addr().(*net.TCPAddr).Port, route)
}

// call sends a request of gRPC's type and returns the answer, read to its end.
func grpcCall(t *testing.T, client *http.Client, url, contentType string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("TE", "trailers")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return resp, string(text)
}

// TestGRPCRoutes holds requests that a gRPC route does not take, and answers of
// the edge's own, against what Kong says.
func TestGRPCRoutes(t *testing.T) {
	upstream := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "grpc-status")
		fmt.Fprintf(w, "%s %s %s te=%s", r.Method, r.URL.Path, r.Header.Get("grpc-timeout"), r.Header.Get("TE"))
		w.Header().Set("grpc-status", "0")
	})
	dead := testkit.LastingAddr(t)
	_, port, _ := net.SplitHostPort(dead)
	e := testkit.StartEdge(t, http2Node+strings.TrimSuffix(grpcService(upstream, "protocols: [grpc], paths: [/any]"), "]}]\n")+
		", {name: secure, protocols: [grpcs], paths: [/secure]}]}, {name: dead, protocol: grpc, host: 127.0.0.1, port: "+port+
		", routes: [{name: d, protocols: [grpc, grpcs], paths: [/dead]}]}]\n"+
		"plugins: [{name: request-termination, route: secure, config: {status_code: 403, message: \"no \\u00e9 50%\"}}]\n")
	plain, secure := "http://"+e.At("http").String(), "https://"+e.At("https").String()
	h1 := &http.Client{Transport: &http.Transport{}}
	defer h1.CloseIdleConnections()
	h2 := h2Client(t)
	for _, tt := range []struct {
		name, url, contentType string
		client                 *http.Client
		status                 int
		grpc, message, body    string
	}{
		{"a call", plain + "/any/x", "application/grpc+proto", h2, 200, "0", "", "POST /any/x 9S te=trailers"},
		{"not gRPC", plain + "/any/x", "text/plain", h2, 415, "", "", "Non-gRPC request matched gRPC route"},
		{"not gRPC, by HTTP/1.1", plain + "/any/x", "text/plain", h1, 415, "", "", "Non-gRPC request matched gRPC route"},
		{"by HTTP/1.1", plain + "/any/x", "application/grpc", h1, 426, "", "", "Please use HTTP2 protocol"},
		{"grpcs in cleartext", plain + "/secure/x", "application/grpc", h2, 200, "1", "gRPC request matched gRPCs route", ""},
		{"answered by a plugin", secure + "/secure/x", "application/grpc", h2, 200, "7", "no %C3%A9 50%25", ""},
		{"no route", plain + "/none", "application/grpc", h2, 200, "5", "no Route matched with those values", ""},
		{"no upstream", plain + "/dead/x", "application/grpc", h2, 200, "14", "An invalid response was received from the upstream server", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", tt.contentType)
			req.Header.Set("Grpc-Timeout", "9S")
			resp, err := tt.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			status, message := resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
			if tt.name == "a call" {
				status = resp.Trailer.Get("Grpc-Status")
			} else if tt.grpc != "" && resp.ContentLength > 0 {
				t.Errorf("content of %d bytes", resp.ContentLength)
			}
			if resp.StatusCode != tt.status || status != tt.grpc || message != tt.message || !strings.Contains(string(text), tt.body) || tt.body == "" && len(text) > 0 {
				t.Errorf("status %d, grpc %q %q, body %q; want %d, %q %q, %q", resp.StatusCode, status, message, text, tt.status, tt.grpc, tt.message, tt.body)
			}
			if got := resp.Header.Get("Upgrade"); tt.status == 426 && got != "HTTP/2" {
				t.Errorf("Upgrade is %q", got)
			}
		})
	}
}

// TestGRPCUpstreamGoesAway lets an upstream end every connection after few calls, by
// GOAWAY, under load: no call is lost.
func TestGRPCUpstreamGoesAway(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	upstream := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		if served.Add(1)%25 == 0 {
			w.Header().Set("Connection", "close") // which net/http makes a GOAWAY of
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(text)
		w.Header().Set("Grpc-Status", "0")
	})
	e := testkit.StartEdge(t, http2Node+grpcService(upstream, "protocols: [grpc], paths: [/]"))
	client := h2Client(t)
	var work sync.WaitGroup
	var lost atomic.Int64
	for range 20 {
		work.Go(func() {
			for i := range 100 {
				want := fmt.Sprintf("message %d", i)
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.At("http").String()+"/a", io.MultiReader(strings.NewReader(want)))
				req.Header.Set("Content-Type", "application/grpc")
				resp, err := client.Do(req)
				if err != nil {
					lost.Add(1)
					t.Log(err)
					continue
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(got) != want || resp.Trailer.Get("Grpc-Status") != "0" {
					lost.Add(1)
					t.Logf("%q, %v, %v %v", got, err, resp.Header, resp.Trailer)
				}
			}
		})
	}
	work.Wait()
	if n := lost.Load(); n > 0 {
		t.Errorf("%d calls of 2000 were lost", n)
	}
}

// TestGRPCManyStreams shows that 100 calls, all under way at once, share one
// connection, and that both directions of each are open at once.
func TestGRPCManyStreams(t *testing.T) {
	t.Parallel()
	const calls = 100
	var conns, open atomic.Int64
	all := make(chan struct{})
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		var one [1]byte
		_, _ = io.ReadFull(r.Body, one[:])
		_, _ = w.Write(one[:])
		_ = rc.Flush() // the answer has begun and the request goes on
		if open.Add(1) == calls {
			close(all)
		}
		<-all
		_, _ = io.Copy(w, r.Body)
	}))
	upstream.Config.Protocols = new(http.Protocols)
	upstream.Config.Protocols.SetUnencryptedHTTP2(true)
	upstream.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	upstream.Start()
	defer upstream.Close()
	e := testkit.StartEdge(t, http2Node+grpcService(upstream, "protocols: [grpc], paths: [/]"))
	client := h2Client(t)
	var work sync.WaitGroup
	for i := range calls {
		work.Go(func() {
			body, send := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+e.At("http").String()+"/a", body)
			req.Header.Set("Content-Type", "application/grpc")
			go func() { _, _ = send.Write([]byte{byte(i)}) }()
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			var one [1]byte
			if _, err := io.ReadFull(resp.Body, one[:]); err != nil || one[0] != byte(i) {
				t.Errorf("call %d: %v %v", i, one, err)
			}
			<-all
			_, _ = send.Write([]byte("rest"))
			send.Close()
			if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "rest" {
				t.Errorf("call %d: %q %v", i, rest, err)
			}
		})
	}
	work.Wait()
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// TestGRPCUpstreamDies lets the upstream break off in the middle of an answer: the
// client is not told that it is complete, and the next call is served.
func TestGRPCUpstreamDies(t *testing.T) {
	upstream := h2cServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, "part")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/dies" {
			panic(http.ErrAbortHandler)
		}
	})
	e := testkit.StartEdge(t, http2Node+grpcService(upstream, "protocols: [grpc], paths: [/]"))
	client := h2Client(t)
	url := "http://" + e.At("http").String()
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/dies", strings.NewReader("x"))
	req.Header.Set("Content-Type", "application/grpc")
	if resp, err := client.Do(req); err == nil { // else the head was on its way still
		if text, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("a broken answer reads as complete: %q", text)
		}
		resp.Body.Close()
	}
	if _, text := grpcCall(t, client, url+"/lives", "application/grpc", strings.NewReader("x")); text != "part" {
		t.Errorf("the next answer is %q", text)
	}
}
