package bench

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

func portOf(t *testing.T, srv *httptest.Server) int {
	t.Helper()
	a, err := netip.ParseAddrPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return int(a.Port())
}

func TestCrowd(t *testing.T) {
	pair, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair([]byte(pair.certPEM), []byte(pair.keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	const conns = 100
	for _, secure := range []bool{false, true} {
		var served, refuse atomic.Int64
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			served.Add(1)
			if refuse.Add(-1) >= 0 {
				w.WriteHeader(http.StatusBadGateway)
			}
			_, _ = io.WriteString(w, "hello")
		}))
		config := pair.tlsConfig()
		if secure {
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			srv.StartTLS()
		} else {
			config = nil
			srv.Start()
		}
		c := newCrowd(portOf(t, srv), conns, "/", config)
		if err := c.open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := served.Load(); n != conns {
			t.Errorf("tls %t: served %d requests, want %d", secure, n, conns)
		}
		refuse.Store(7)
		if n, err := c.lost(t.Context()); n != 7 || err != nil {
			t.Errorf("tls %t: got %d lost, %v; want 7", secure, n, err)
		}
		srv.CloseClientConnections()
		if n, err := c.lost(t.Context()); n != conns || err != nil {
			t.Errorf("tls %t: got %d lost, %v; want all", secure, n, err)
		}
		c.close()
		srv.Close()
		if err := c.open(t.Context()); err == nil || !strings.Contains(err.Error(), "idle connection ") {
			t.Errorf("tls %t: a closed server: got %v", secure, err)
		}
	}
}

func TestCheckAnswer(t *testing.T) {
	pair, err := newPair()
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, "hello")
	})
	plain := httptest.NewServer(h)
	defer plain.Close()
	other := httptest.NewTLSServer(h) // With a certificate of its own.
	defer other.Close()
	for _, tt := range []struct {
		name, url string
		length    int64
		want      string
	}{
		{"good", plain.URL, 5, ""},
		{"length", plain.URL, 6, "got status 200 and 5 bytes, want 200 and 6"},
		{"status", plain.URL + "/gone", 5, "got status 502"},
		{"another certificate", strings.Replace(other.URL, "127.0.0.1", "localhost", 1), 5, "certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := checkAnswer(t.Context(), tt.url, tt.length, pair.tlsConfig())
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a mention of %q", err, tt.want)
			}
		})
	}
}
