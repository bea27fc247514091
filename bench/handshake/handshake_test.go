package handshake

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve starts a server and returns its URL and files of its root and of a
// client's certificate, which is the server's own.
func serve(t *testing.T, change func(*tls.Config)) (url, root, client string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/some" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, "0123456789")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) string {
		var b bytes.Buffer
		for _, block := range blocks {
			if err := pem.Encode(&b, block); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := &pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}
	return s.URL + "/some", write("root.pem", cert), write("client.pem", cert, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
}

// measure runs until some handshakes are done or something is wrong.
func measure(t *testing.T, o Options) *Result {
	t.Helper()
	for d := 200 * time.Millisecond; ; d *= 2 { // a busy machine gets more time
		o.Duration = d
		r, err := Measure(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Handshakes > 20 || r.Failures() > 20 || d > 20*time.Second {
			return r
		}
	}
}

func TestMeasure(t *testing.T) {
	url, root, _ := serve(t, nil)
	for _, tt := range []struct {
		name string
		o    Options
	}{
		{"full", Options{}},
		{"full, TLS 1.2", Options{TLS12: true}},
		{"resumed", Options{Resume: true}},
		{"resumed, TLS 1.2", Options{Resume: true, TLS12: true, Curve: "P-256"}},
		{"post-quantum", Options{Curve: "X25519MLKEM768"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.o
			o.URL, o.Connections, o.CAFile = url, 2, root
			r := measure(t, o)
			if r.Handshakes == 0 || r.Failures() > 0 || r.Bytes != 10*r.Handshakes || r.P50 <= 0 {
				t.Errorf("result %+v", r)
			}
			want := int64(0)
			if tt.o.Resume {
				want = r.Handshakes - 2 // each worker begins with one that is full
			}
			if r.Resumed != want {
				t.Errorf("%d of %d were resumed, want %d", r.Resumed, r.Handshakes, want)
			}
		})
	}
}

func TestMeasureMutual(t *testing.T) {
	url, root, client := serve(t, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	if r := measure(t, Options{URL: url, Connections: 1, CAFile: root, CertFile: client, KeyFile: client}); r.Handshakes == 0 || r.Failures() > 0 {
		t.Errorf("with a certificate: %+v", r)
	}
	if r := measure(t, Options{URL: url, Connections: 1, CAFile: root}); r.Handshakes > 0 || r.Failures() == 0 {
		t.Errorf("without a certificate: %+v", r)
	}
}

func TestMeasureErrors(t *testing.T) {
	url, _, _ := serve(t, func(c *tls.Config) { c.SessionTicketsDisabled = true })
	for _, tt := range []struct {
		name, doing string
		o           Options
	}{
		{"not resumed", "resuming", Options{URL: url, Resume: true}},
		{"another status", "reading the answer", Options{URL: strings.TrimSuffix(url, "/some") + "/other"}},
		{"an unknown root", "shaking hands", Options{URL: url, CAFile: "root"}},
		{"nobody there", "connecting", Options{URL: "https://127.0.0.1:1/"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.o
			o.Connections = 1
			if o.CAFile != "" {
				_, root, _ := serve(t, func(c *tls.Config) {
					c.Certificates = nil
				})
				o.CAFile = root
				o.URL = strings.Replace(o.URL, "127.0.0.1", "localhost", 1) // a name the certificate does not have
			}
			r := measure(t, o)
			if f := r.Errors[tt.doing]; f.Count == 0 || f.First == "" {
				t.Errorf("result %+v, want an error while %s", r, tt.doing)
			}
		})
	}
}

func TestBadOptions(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{URL: "http://a/"}, `the URL is "http://a/"; want https://`},
		{Options{URL: "https://a/", Connections: -1}, "connections is -1; want 1 to 10000"},
		{Options{URL: "https://a/", Duration: -1}, "duration is -1ns; want up to 24h0m0s"},
		{Options{URL: "https://a/", Timeout: -1}, "timeout is -1ns"},
		{Options{URL: "https://a/", Curve: "P-1"}, `curve "P-1" is unknown; known are P-256, X25519, X25519MLKEM768`},
		{Options{URL: "https://a/", CertFile: "x"}, "want both or none"},
		{Options{URL: "https://a/", CAFile: "/nowhere"}, "reading the roots"},
		{Options{URL: "https://a/", CAFile: os.DevNull}, "holds no certificate"},
		{Options{URL: "https://a/", CertFile: os.DevNull, KeyFile: os.DevNull}, "reading the client's certificate"},
	} {
		if _, err := Measure(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.o, err, tt.want)
		}
	}
}

func TestRunPrints(t *testing.T) {
	url, _, _ := serve(t, nil)
	o := Options{URL: url, Connections: 1, Duration: 2 * time.Second}
	var b bytes.Buffer
	if err := Run(t.Context(), o, &b); err != nil || !strings.Contains(b.String(), "handshakes") || !strings.Contains(b.String(), "p99.9") {
		t.Errorf("%v; printed:\n%s", err, b.String())
	}
	b.Reset()
	o.JSON = true
	var r Result
	if err := Run(t.Context(), o, &b); err != nil || json.Unmarshal(b.Bytes(), &r) != nil || r.Handshakes == 0 || r.Version != ResultVersion {
		t.Errorf("%v; printed:\n%s", err, b.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, o, io.Discard); err == nil {
		t.Error("a run without a handshake is no error")
	}
}
