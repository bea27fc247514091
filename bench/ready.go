package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// readyTimeout is how long a process may take until it accepts.
	readyTimeout = 15 * time.Second
	// readyPause lies between two tries to connect.
	readyPause = 20 * time.Millisecond
	// checkTimeout bounds the one request that checks an answer.
	checkTimeout = 10 * time.Second
)

// awaitPorts returns when p accepts connections on all ports.
func awaitPorts(ctx context.Context, p *process, ports ...int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout,
		fmt.Errorf("%s did not accept connections within %s", p.name, readyTimeout))
	defer cancel()
	for _, port := range ports {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				if err := conn.Close(); err != nil {
					return fmt.Errorf("closing a connection to %s: %w", p.name, err)
				}
				break
			}
			if err := p.alive(); err != nil {
				return err
			}
			if err := pause(ctx, readyPause); err != nil {
				return fmt.Errorf("%w; its output ends with:\n%s", err, tail(p.output))
			}
		}
	}
	return p.alive()
}

// pause sleeps unless ctx ends before; then it returns the cause.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tlsConfig is that of a client which insists on what all contestants are to
// use: TLS 1.3, X25519 and the run's own certificate.
func (p *pair) tlsConfig() *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(p.leaf)
	return &tls.Config{
		RootCAs:          roots,
		ServerName:       "localhost",
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{"http/1.1"},
	}
}

// checkAnswer requests url once and checks status, length and, over TLS, what
// was negotiated: figures of a contestant that answers something else would
// look splendid.
func checkAnswer(ctx context.Context, url string, length int64, config *tls.Config) (negotiated string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	tr := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("checking %q: %w", url, err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("checking %q: %w", url, err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", fmt.Errorf("checking %q: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK || n != length {
		return "", fmt.Errorf("checking %q: got status %d and %d bytes, want 200 and %d", url, resp.StatusCode, n, length)
	}
	if s := resp.TLS; s != nil {
		negotiated = fmt.Sprintf("%s %s %s", tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID)
		if s.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
			return "", fmt.Errorf("checking %q: negotiated %s, want TLS_AES_128_GCM_SHA256", url, negotiated)
		}
	}
	return negotiated, nil
}
