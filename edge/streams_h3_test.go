package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

// h3OriginVar turns this test binary into an HTTP/3 server: its address, the
// file of its certificate and that of the key, with spaces between.
const h3OriginVar = "BULWARK_TEST_H3_ORIGIN"

// TestMain runs the tests, or is what one of them has started as a process of
// its own.
func TestMain(m *testing.M) {
	if what := os.Getenv(h3OriginVar); what != "" {
		if err := serveH3(what); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	testkit.Main(m)
}

// serveH3 serves HTTP/3 until its standard input ends. It says on which process
// and name a request has come to, and sends its content back.
func serveH3(what string) error {
	var at, certFile, keyFile string
	if _, err := fmt.Sscan(what, &at, &certFile, &keyFile); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	socket, err := net.ListenPacket("udp", at)
	if err != nil {
		return err
	}
	defer socket.Close()
	server := &http3.Server{
		Logger:    slog.New(slog.DiscardHandler),
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "%s %s by process %d\n", r.Proto, r.TLS.ServerName, os.Getpid())
			_, _ = io.Copy(w, r.Body)
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	fmt.Println("serving")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	_ = server.Close()
	<-served // it was told to end
	return nil
}

// startH3 starts an HTTP/3 server as a process of its own; the test's end stops
// it.
func startH3(t *testing.T, at, certFile, keyFile string) (process int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), h3OriginVar+"="+strings.Join([]string{at, certFile, keyFile}, " "))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the HTTP/3 server: %v", err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "serving\n" {
		t.Fatalf("the HTTP/3 server says %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// askH3 asks by HTTP/3 what is at an address, and holds the server's certificate
// against that in a file. Each call has a connection of its own.
func askH3(t *testing.T, at netip.AddrPort, caFile, url, content string) (answer string) {
	t.Helper()
	ca, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, at.String(), tlsConfig, config)
		},
	}
	defer transport.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("asking %s by HTTP/3: %v", url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading what %s answers by HTTP/3: %v", url, err)
	}
	return string(b)
}
