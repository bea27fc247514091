package edge_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// shop returns a configuration with one service at an origin.
func shop(origin string) string {
	return fmt.Sprintf(`
services:
  - name: shop
    url: http://%s
    connect_timeout: 2000
    routes: [{name: shop, paths: [/]}]
`, origin)
}

func TestIntegrationCurlAndNginx(t *testing.T) {
	nginx := testkit.StartNginx(t)
	nginx.WriteFile("hello", []byte("hello from nginx"))
	e := testkit.StartEdge(t, shop(nginx.Addr))
	plain, secure := "http://"+e.At("http").String(), "https://"+e.At("https").String()
	code := "%{http_code}"

	tests := []struct {
		name string
		args []string
		want string
	}{
		{"http", []string{plain + "/hello"}, "hello from nginx"},
		{"https with the self-made certificate", []string{"-k", secure + "/hello"}, "hello from nginx"},
		{"https tells the upstream", []string{"-k", secure + "/host"}, nginx.Addr + " https"},
		{"http 1.0", []string{"--http1.0", plain + "/hello", "-w", " %{http_version}"}, "hello from nginx 1.1"},
		{"head", []string{"-I", "-o", "/dev/null", "-w", code + " %header{content-length}", plain + "/hello"}, "200 16"},
		{"range", []string{"-r", "6-9", "-w", " " + code, plain + "/hello"}, "from 206"},
		{"not there", []string{"-o", "/dev/null", "-w", code, plain + "/nothing"}, "404"},
		{"keep-alive", []string{plain + "/hello", plain + "/hello", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} "}, "1 0 "},
		{"keep-alive over tls", []string{"-k", secure + "/hello", secure + "/hello", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} "}, "1 0 "},
		{"expect", []string{"-H", "Expect: 100-continue", "-T", "-", "-o", "/dev/null", "-w", code, plain + "/expected"}, "201"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := testkit.Curl(t, tt.args...); got != tt.want {
				t.Errorf("curl prints %q, want %q", got, tt.want)
			}
		})
	}

	t.Run("many at once", func(t *testing.T) {
		got := testkit.Curl(t, "-Z", "--parallel-max", "24", plain+"/hello?[1-240]", "-o", "/dev/null", "-w", code+"\n")
		if n := strings.Count(got, "200\n"); n != 240 {
			t.Errorf("%d of 240 answers are 200:\n%s", n, got)
		}
	})
}

func TestIntegrationOriginStopsAndRecovers(t *testing.T) {
	nginx := testkit.StartNginx(t)
	nginx.WriteFile("hello", []byte("hello"))
	e := testkit.StartEdge(t, shop(nginx.Addr))
	get := func() string {
		return testkit.Curl(t, "-o", "/dev/null", "-w", "%{http_code}", "http://"+e.At("http").String()+"/hello")
	}
	for round := range 2 {
		if got := get(); got != "200" {
			t.Fatalf("round %d: status %s while nginx runs, want 200", round, got)
		}
		nginx.Stop()
		if got := get(); got != "502" {
			t.Fatalf("round %d: status %s while nginx is down, want 502", round, got)
		}
		nginx.Start()
	}
	if got := get(); got != "200" {
		t.Fatalf("status %s after nginx is back, want 200", got)
	}
}

// largeBytes is the size of the bodies that must be streamed, memoryBytes how
// much the heap may grow meanwhile, sampleEvery how often it is looked at.
const (
	largeBytes  = 100 << 20
	memoryBytes = 24 << 20
	sampleEvery = 5 * time.Millisecond
)

func TestIntegrationLargeBodies(t *testing.T) {
	nginx := testkit.StartNginx(t)
	e := testkit.StartEdge(t, shop(nginx.Addr))
	dir := t.TempDir()
	sent, got := filepath.Join(dir, "sent"), filepath.Join(dir, "got")
	block := make([]byte, 1<<20)
	rand.Read(block)
	if err := os.WriteFile(sent, bytes.Repeat(block, largeBytes/len(block)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, listener := range []string{"http", "https"} {
		t.Run(listener, func(t *testing.T) {
			url := listener + "://" + e.At(listener).String() + "/large-" + listener
			peak := watchHeap(t)
			if code := testkit.Curl(t, "-k", "-T", sent, "-w", "%{http_code}", url); code != "201" {
				t.Errorf("status of the upload is %s, want 201", code)
			}
			// Without a length the same content goes as chunks.
			if code := testkit.Curl(t, "-k", "-T", sent, "-H", "Transfer-Encoding: chunked", "-w", "%{http_code}", url); code != "204" {
				t.Errorf("status of the chunked upload is %s, want 204", code)
			}
			if code := testkit.Curl(t, "-k", "-o", got, "-w", "%{http_code}", url); code != "200" {
				t.Errorf("status of the download is %s, want 200", code)
			}
			if grown := peak(); grown > memoryBytes {
				t.Errorf("the heap grew by %d bytes while bodies of %d were streamed, want at most %d", grown, largeBytes, memoryBytes)
			}
			if hash(t, sent) != hash(t, got) {
				t.Error("what came back is not what was sent")
			}
		})
	}
}

// watchHeap samples the heap until peak is called, which returns by how much it
// had grown at the most.
func watchHeap(t *testing.T) (peak func() int64) {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := int64(m.HeapInuse)
	var most atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), int64(m.HeapInuse)))
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-done
		return most.Load() - before
	}
}

func hash(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func TestIntegrationConfiguredCertificate(t *testing.T) {
	nginx := testkit.StartNginx(t)
	nginx.WriteFile("hello", []byte("hello"))
	cert, key := makeCertificate(t, "shop.test", "*.wild.test")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte(cert), 0o644); err != nil {
		t.Fatal(err)
	}
	e := testkit.StartEdge(t, shop(nginx.Addr)+fmt.Sprintf(`
certificates:
  - cert: %q
    key: %q
    snis: [{name: shop.test}, {name: "*.wild.test"}]
`, cert, key))
	port := fmt.Sprint(e.Port("https"))
	for _, name := range []string{"shop.test", "api.wild.test"} {
		got := testkit.Curl(t, "--cacert", ca, "--resolve", name+":"+port+":127.0.0.1", "https://"+name+":"+port+"/hello")
		if got != "hello" {
			t.Errorf("%s: got %q, want hello", name, got)
		}
	}
}

// makeCertificate returns a self-signed certificate and its key as PEM.
func makeCertificate(t *testing.T, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER)
}
