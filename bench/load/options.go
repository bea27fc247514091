package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a run. They keep a mistyped flag from taking the machine down.
const (
	MaxConnections = 60000            // Each costs a descriptor, a port and a 16 KiB buffer.
	MaxRate        = 5e6              // Requests per second.
	MaxRequests    = 1 << 40          // Requests.
	MaxDuration    = 24 * time.Hour   // Of sending.
	MaxTimeout     = 10 * time.Minute // Of one request, connecting included.
	MaxBody        = 64 << 20         // Bytes of a request body, held in memory.

	maxHeaders = 256 // Extra request header fields.
	// spareFiles is how many descriptors are left for what is not a connection.
	spareFiles = 64
)

// Defaults for what Options leaves at its zero value.
const (
	DefaultConnections = 64
	DefaultDuration    = 10 * time.Second
	DefaultTimeout     = 30 * time.Second
)

// Options describes one run.
type Options struct {
	// URL is what to request: http or https, a host, a path and a query.
	URL string
	// Method is the request method; empty means GET.
	Method string
	// Headers are extra header fields, each "Name: value". Host, User-Agent and
	// Content-Length replace the ones made here.
	Headers []string
	// Body is the request body.
	Body []byte

	// Connections is how many connections are used at once.
	Connections int
	// Rate, if above zero, makes the loop open: requests per second in all.
	Rate float64
	// Duration is how long requests are sent; Requests how many are sent in
	// all. Either may be zero; if both are set, the earlier ends the run.
	Duration time.Duration
	Requests int64
	// Timeout bounds one request, connecting included. In an open loop it also
	// bounds how long the run goes on for requests that are late at its end.
	Timeout time.Duration

	// Reconnect opens a new connection for each request.
	Reconnect bool
	// Insecure accepts any certificate.
	Insecure bool

	// JSON makes Run print the result as JSON in place of a table.
	JSON bool
	// Progress, if set, gets one line each second.
	Progress io.Writer
}

// target is where requests go, cut from the URL.
type target struct {
	tls     bool
	host    string // Name or address, without brackets; the SNI.
	address string // Host and port to dial.
	request []byte // The complete request, head and body.
	head    bool   // The method is HEAD: answers have no body.
}

// plan fills the defaults, checks everything and reports all faults at once.
func (o *Options) plan() (target, error) {
	if o.Method == "" {
		o.Method = "GET"
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Duration == 0 && o.Requests == 0 {
		o.Duration = DefaultDuration
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	t, err := o.target()
	return t, errors.Join(
		err,
		within("connections", float64(o.Connections), 1, MaxConnections),
		within("rate", o.Rate, 0, MaxRate),
		within("requests", float64(o.Requests), 0, MaxRequests),
		within("duration in seconds", o.Duration.Seconds(), 0, MaxDuration.Seconds()),
		within("timeout in seconds", o.Timeout.Seconds(), 0.001, MaxTimeout.Seconds()),
		within("body in bytes", float64(len(o.Body)), 0, MaxBody),
		within("number of headers", float64(len(o.Headers)), 0, maxHeaders),
		checkFiles(o.Connections),
	)
}

func within(what string, v, low, high float64) error {
	if v >= low && v <= high {
		return nil
	}
	return fmt.Errorf("%s is %s; want %s to %s", what, number(v), number(low), number(high))
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// checkFiles compares the wanted connections with the limit on descriptors.
// The Go runtime has already raised the soft limit to the hard one.
func checkFiles(connections int) error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("reading the limit on open files: %w", err)
	}
	if need := uint64(max(connections, 0)) + spareFiles; need > lim.Cur {
		return fmt.Errorf("%d connections need %d open files and the limit is %d; raise it with ulimit -n", connections, need, lim.Cur)
	}
	return nil
}

func (o *Options) target() (target, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return target{}, fmt.Errorf("reading the URL: %w", err)
	}
	t := target{tls: u.Scheme == "https", host: u.Hostname(), head: o.Method == "HEAD"}
	if u.Scheme != "http" && u.Scheme != "https" || t.host == "" {
		return target{}, fmt.Errorf("url %q: want http:// or https:// and a host", o.URL)
	}
	port := u.Port()
	if port == "" {
		port = "80"
		if t.tls {
			port = "443"
		}
	}
	t.address = net.JoinHostPort(t.host, port)
	t.request, err = o.buildRequest(u)
	return t, err
}

// buildRequest makes the bytes that every exchange sends.
func (o *Options) buildRequest(u *url.URL) ([]byte, error) {
	if !isToken(o.Method) {
		return nil, fmt.Errorf("method %q is not an HTTP token", o.Method)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", o.Method, u.RequestURI())
	given := make([]string, 0, len(o.Headers))
	var custom strings.Builder
	for _, h := range o.Headers {
		name, value, ok := strings.Cut(h, ":")
		value = strings.Trim(value, " \t")
		if !ok || !isToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("header %q: want \"Name: value\"", h)
		}
		given = append(given, strings.ToLower(name))
		fmt.Fprintf(&custom, "%s: %s\r\n", name, value)
	}
	add := func(name, value string) {
		if !slices.Contains(given, strings.ToLower(name)) {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	add("Host", u.Host)
	add("User-Agent", "bulwark-bench")
	if len(o.Body) > 0 || o.Method == "POST" || o.Method == "PUT" || o.Method == "PATCH" {
		add("Content-Length", strconv.Itoa(len(o.Body)))
	}
	if o.Reconnect {
		add("Connection", "close")
	}
	b.WriteString(custom.String())
	b.WriteString("\r\n")
	return append([]byte(b.String()), o.Body...), nil
}

// isToken reports whether s is a token of RFC 9110 section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
