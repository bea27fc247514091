package handshake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Defaults and bounds.
const (
	DefaultConnections = 16
	DefaultDuration    = 10 * time.Second
	DefaultTimeout     = 10 * time.Second
	DefaultCurve       = "X25519"

	maxConnections = 10_000
	maxDuration    = 24 * time.Hour
)

// Options says what is asked of whom.
type Options struct {
	URL         string // https://host[:port]/path
	Connections int    // at once
	Duration    time.Duration
	Timeout     time.Duration // of a connection, from its connect to its answer
	Resume      bool          // every handshake but a connection's first resumes the session before
	Curve       string        // the one key exchange that is offered: X25519, P-256 or X25519MLKEM768
	TLS12       bool          // TLS 1.2 in place of 1.3
	CAFile      string        // PEM of the roots that the server is verified by; "": it is not verified
	CertFile    string        // PEM of the client's certificate and its chain; "": none is shown
	KeyFile     string        // PEM of its key
	JSON        bool          // how Run prints the result
}

var curves = map[string]tls.CurveID{
	"X25519": tls.X25519, "P-256": tls.CurveP256, "X25519MLKEM768": tls.X25519MLKEM768,
}

// plan is what follows from Options.
type plan struct {
	address, host, target string
	config                *tls.Config
}

// plan fills the defaults and checks everything.
func (o *Options) plan() (plan, error) {
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Duration == 0 {
		o.Duration = DefaultDuration
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Curve == "" {
		o.Curve = DefaultCurve
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	u, err := url.Parse(o.URL)
	if err != nil {
		return plan{}, fmt.Errorf("reading the URL: %w", err)
	}
	check(u.Scheme == "https" && u.Hostname() != "", "the URL is %q; want https://host[:port]/path", o.URL)
	check(o.Connections > 0 && o.Connections <= maxConnections, "connections is %d; want 1 to %d", o.Connections, maxConnections)
	check(o.Duration > 0 && o.Duration <= maxDuration, "duration is %s; want up to %s", o.Duration, maxDuration)
	check(o.Timeout > 0 && o.Timeout <= maxDuration, "timeout is %s; want up to %s", o.Timeout, maxDuration)
	curve, ok := curves[o.Curve]
	check(ok, "curve %q is unknown; known are %s", o.Curve, Curves())
	check((o.CertFile == "") == (o.KeyFile == ""), "a certificate and its key belong together; want both or none")
	p := plan{host: u.Host, target: u.RequestURI(), address: u.Host}
	if u.Port() == "" {
		p.address = net.JoinHostPort(u.Hostname(), "443")
	}
	p.config = &tls.Config{
		ServerName: u.Hostname(), NextProtos: []string{"http/1.1"},
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{curve},
		// Who measures says whether the server is verified; a load generator keeps no secrets.
		InsecureSkipVerify: o.CAFile == "", //nolint:gosec // See above.
	}
	if o.TLS12 {
		p.config.MinVersion, p.config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	return p, errors.Join(append(errs, o.readFiles(p.config))...)
}

// readFiles reads the roots and the client's certificate.
func (o *Options) readFiles(c *tls.Config) error {
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return fmt.Errorf("reading the roots: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("%s holds no certificate in PEM form", o.CAFile)
		}
	}
	if o.CertFile != "" && o.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return fmt.Errorf("reading the client's certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}

// Curves returns the names of the key exchanges that may be offered.
func Curves() string {
	var names []string
	for name := range curves {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
