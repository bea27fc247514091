package issuer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// Bounds on what an authority may do to us.
const (
	maxAnswerBytes = 1 << 20
	maxOrderBytes  = 8 << 20 // of all answers in one order
	maxHeadBytes   = 64 << 10
	answerTimeout  = 30 * time.Second // to the head of an answer
	wholeTimeout   = time.Minute      // to its end
	troublePause   = time.Minute      // after an answer that did not come, at most; for all names
	directoryKept  = time.Hour
	longestRetry   = 24 * time.Hour // that an authority may make us wait
	idlePerCA      = 2              // connections
	pollInterval   = 250 * time.Millisecond
)

// authority is a CA and how it is reached. It lasts as long as any terms name it.
type authority struct {
	CA
	product   string
	transport *http.Transport

	mu      sync.Mutex
	body    []byte // of the directory
	fetched time.Time
	quiet   time.Time // until then nothing is asked of it
	why     string    // of that
	silent  time.Time // until then it is not asked when to renew
	mute    bool      // the last such question was not answered
	asking  int       // of them under way
}

func newAuthority(ca CA, product string) *authority {
	var roots *x509.CertPool
	if ca.Roots != "" {
		roots = x509.NewCertPool() // without any that can be read nothing is trusted
		roots.AppendCertsFromPEM([]byte(ca.Roots))
	}
	return &authority{CA: ca, product: product, transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: answerTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    answerTimeout,
		ResponseHeaderTimeout:  answerTimeout,
		MaxResponseHeaderBytes: maxHeadBytes,
		MaxIdleConnsPerHost:    idlePerCA,
		IdleConnTimeout:        time.Minute,
		ForceAttemptHTTP2:      true,
	}}
}

// id names the authority's records and series: its host, and a hash of its URL
// and account.
func (a *authority) id() string {
	sum := sha256.Sum256([]byte(a.Directory + "\n" + a.EABKeyID))
	return a.host() + "-" + hex.EncodeToString(sum[:4])
}

func (a *authority) host() string {
	u, err := url.Parse(a.Directory)
	if err != nil || u.Host == "" {
		return "unknown"
	}
	return u.Hostname()
}

// session is what one order does with an authority. It notes how long the
// authority wants to be left alone.
type session struct {
	*authority
	client *acme.Client
	dir    []byte // the directory, as acmez gets it
	ari    string // URL of what is said about renewals; empty: nothing is

	mu      sync.Mutex
	left    int // bytes that answers may still have
	retry   time.Time
	special bool  // what is asked is about one name
	renewal bool  // it is when to renew
	trouble error // with the last answer, which did not come, or not whole
}

// open begins a session. It is returned with an error, too.
func (a *authority) open(ctx context.Context, timeout time.Duration) (*session, error) {
	s := &session{authority: a, left: maxOrderBytes}
	body, err := a.fetch(ctx, s)
	if err != nil {
		return s, fmt.Errorf("reading the directory: %w", err)
	}
	if s.dir, s.ari, err = withoutARI(body); err != nil {
		return s, fmt.Errorf("reading the directory: %w", err)
	}
	sum := sha256.Sum256(s.dir)
	s.client = &acme.Client{
		// The library keeps directories by URL for half a day, for the whole process,
		// and reads one while it keeps all others waiting. So it gets ours, which
		// RoundTrip has at hand, under a URL that changes with its content.
		Directory:    a.Directory + "#" + hex.EncodeToString(sum[:8]),
		HTTPClient:   &http.Client{Transport: s, Timeout: wholeTimeout},
		UserAgent:    a.product,
		PollInterval: pollInterval,
		PollTimeout:  timeout,
	}
	return s, nil
}

var errBadDirectory = errors.New("what it answers is no ACME directory")

// withoutARI takes the URL for renewals out of a directory. acmez would ask there
// about each certificate that it gets, and while it does the order waits.
func withoutARI(body []byte) (dir []byte, ari string, err error) {
	var d map[string]json.RawMessage
	if err := json.Unmarshal(body, &d); err != nil {
		return nil, "", errBadDirectory
	}
	if raw, ok := d["renewalInfo"]; ok && json.Unmarshal(raw, &ari) != nil {
		return nil, "", errBadDirectory
	}
	delete(d, "renewalInfo")
	dir, err = json.Marshal(d)
	return dir, ari, err
}

// fetch returns the directory, which is read unless that was done lately.
func (a *authority) fetch(ctx context.Context, through http.RoundTripper) ([]byte, error) {
	a.mu.Lock()
	body, fresh := a.body, a.body != nil && time.Since(a.fetched) < directoryKept
	a.mu.Unlock()
	if fresh {
		return body, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Directory, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", a.product)
	res, err := (&http.Client{Transport: fetching{through}, Timeout: wholeTimeout}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the status is %d", res.StatusCode)
	}
	var d acme.Directory
	if err := json.Unmarshal(body, &d); err != nil || d.NewNonce == "" || d.NewAccount == "" || d.NewOrder == "" {
		return nil, errBadDirectory
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.body, a.fetched = body, time.Now()
	return body, nil
}

// forget has the directory read again, as after an error that it may explain.
func (a *authority) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.body = nil
}

// fetching marks the one request that is to reach the authority for its
// directory.
type fetching struct{ http.RoundTripper }

func (f fetching) RoundTrip(req *http.Request) (*http.Response, error) {
	if s, ok := f.RoundTripper.(*session); ok {
		return s.send(req)
	}
	return f.RoundTripper.RoundTrip(req)
}

var errInsecure = errors.New("it leads from https to another scheme")

// RoundTrip asks the authority; its directory is at hand.
func (s *session) RoundTrip(req *http.Request) (*http.Response, error) {
	if u := *req.URL; u.Fragment != "" && req.Method == http.MethodGet {
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(s.dir)),
			ContentLength: int64(len(s.dir)), Request: req,
		}, nil
	}
	return s.send(req)
}

// send asks the authority, bounds its answer, and notes how long it wants to be
// left alone.
func (s *session) send(req *http.Request) (*http.Response, error) {
	if !secure(s.Directory) && !local(s.Directory) || secure(s.Directory) && req.URL.Scheme != "https" {
		return nil, fmt.Errorf("asking %q: %w", req.URL, errInsecure)
	}
	res, err := s.transport.RoundTrip(req)
	s.troubled(err)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
		s.note(retryAfter(res.Header.Get("Retry-After"), time.Now()), res.StatusCode == http.StatusServiceUnavailable)
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{&bounded{res.Body, maxAnswerBytes, s}, res.Body}
	return res, nil
}

// troubled notes what is wrong with the last answer; nil: nothing.
func (s *session) troubled(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = err
}

// givenUp has all names leave the authority alone for a while if the session has
// ended because an answer did not come: so one that hangs takes the time of a few
// names only.
func (s *session) givenUp(pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble != nil {
		s.hush(time.Now().Add(min(pause, troublePause)), brief(s.trouble))
	}
}

// note keeps what the authority wants. Limits are mostly of a name, such as so
// many certificates a week; what it says before a name was told is of us.
func (s *session) note(until time.Time, down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.retry) {
		s.retry = until
	}
	switch {
	case s.renewal:
		s.silence(until)
	case down || !s.special:
		s.hush(until, "it is busy")
	}
}

// named says that what is asked from now on is about one name.
func (s *session) named() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.special = true
}

// aside says that what is asked from now on is when to renew, which orders do not
// depend on.
func (s *session) aside() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewal = true
}

func (a *authority) silence(until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.silent = latest(a.silent, until)
}

func (a *authority) hush(until time.Time, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until.After(a.quiet) {
		a.quiet, a.why = until, why
	}
}

// quietUntil returns until when the authority is left alone, whatever the name, and
// why.
func (a *authority) quietUntil() (until time.Time, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quiet, a.why
}

// mayTell takes leave to ask when to renew, which told gives back. One that did
// not answer is not asked for a while, and then about one name first.
func (a *authority) mayTell(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.silent) || a.mute && a.asking > 0 {
		return false
	}
	a.asking++
	return true
}

func (a *authority) told(answered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asking--
	if a.mute = !answered; a.mute {
		a.silent = latest(a.silent, time.Now().Add(troublePause))
	}
}

// retryAt returns when the authority may be asked again, zero if it did not say.
func (s *session) retryAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retry
}

// retryAfter parses the field (RFC 9110 section 10.2.3); zero for what is none.
func retryAfter(value string, now time.Time) time.Time {
	var at time.Time
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		at = now.Add(time.Duration(n) * time.Second)
	} else if at, err = http.ParseTime(value); err != nil {
		return time.Time{}
	}
	if most := now.Add(longestRetry); at.After(most) {
		return most
	}
	return at
}

var errLongAnswer = errors.New("the authority's answer is too long")

// bounded is an answer that ends with an error where more than left bytes come, or
// more than its session may have.
type bounded struct {
	r    io.Reader
	left int
	s    *session
}

func (b *bounded) Read(p []byte) (n int, err error) {
	if b.left <= 0 || !b.s.spend(0) {
		err = errLongAnswer
	} else {
		n, err = b.r.Read(p[:min(len(p), b.left)])
		b.left -= n
		b.s.spend(n)
	}
	if err != nil && err != io.EOF {
		b.s.troubled(err)
	}
	return n, err
}

// spend takes bytes from what answers may have, and reports whether any are left.
func (s *session) spend(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left -= n
	return s.left > 0
}

func secure(directory string) bool {
	u, err := url.Parse(directory)
	return err == nil && u.Scheme == "https"
}

// local reports whether a URL leads to this machine.
func local(directory string) bool {
	u, err := url.Parse(directory)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}
