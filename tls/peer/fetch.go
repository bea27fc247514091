package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxFetches bounds the questions to servers at a time; others wait.
	maxFetches = 8
	// maxURLBytes bounds a server's address in a certificate.
	maxURLBytes = 2048
	// maxRedirects bounds how often an answer may point elsewhere.
	maxRedirects = 2
	// smallBytes is what a body may take in memory beside others; of longer
	// ones there is one at a time.
	smallBytes = 1 << 20
	// maxServers bounds the servers that are known not to answer.
	maxServers = 1024
	// firstPause and lastPause are how long nobody is asked again after a
	// fault, doubling.
	firstPause, lastPause = 5 * time.Second, time.Minute

	maxFetchHead   = 16 << 10
	fetchIdleTime  = 30 * time.Second
	maxIdleServers = 16
)

// fetcher asks OCSP and CRL servers, by HTTP without TLS: what they say is
// signed, and to verify their certificates they might have to be asked.
type fetcher struct {
	client  *http.Client
	slots   chan struct{} // one for each question under way
	large   chan struct{} // for a body above smallBytes
	allow   atomic.Pointer[[]netip.Prefix]
	servers *lru[string, pause] // by host and port
	now     func() time.Time
}

// pause is how long somebody is not asked again.
type pause struct {
	until  time.Time
	faults int
	err    error // of the last time
}

// after returns the pause that follows p and another fault.
func (p pause) after(now time.Time, err error) pause {
	wait := firstPause << min(p.faults, 10)
	return pause{until: now.Add(min(wait, lastPause)), faults: p.faults + 1, err: err}
}

func newFetcher(now func() time.Time) *fetcher {
	f := &fetcher{
		slots: make(chan struct{}, maxFetches), large: make(chan struct{}, 1),
		servers: newLRU[string, pause](maxServers, maxServers), now: now,
	}
	dialer := &net.Dialer{ControlContext: f.control}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			DisableCompression:     true, // a short answer stays short
			MaxResponseHeaderBytes: maxFetchHead,
			MaxIdleConns:           maxIdleServers,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        fetchIdleTime,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fault(HTTPStatus, "over %d redirects", maxRedirects)
			}
			return checkURL(req.URL)
		},
	}
	return f
}

// control refuses addresses of this machine and its link after the name has been
// resolved, so that no name can stand for one.
func (f *fetcher) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fault(AddressRefused, "%q is no address", address)
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.IsGlobalUnicast() || slices.ContainsFunc(*f.allow.Load(), func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	return fault(AddressRefused, "%v is of this machine or its link", addr)
}

func checkURL(u *url.URL) error {
	if u.Scheme != "http" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return fault(BadURL, "%q is no address of plain HTTP", shorten(u.Redacted()))
	}
	return nil
}

func shorten(s string) string {
	if len(s) > maxToldName {
		return s[:maxToldName] + "..."
	}
	return s
}

// parseURL reads a server's address as a certificate tells it.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURLBytes {
		return nil, fault(BadURL, "an address of over %d bytes", maxURLBytes)
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fault(BadURL, "%q is malformed", shorten(s))
	}
	return u, checkURL(u)
}

// validators are what a server told of a document, to be asked only for another.
type validators struct{ etag, modified string }

// document is what a server has answered.
type document struct {
	body      []byte
	unchanged bool // it is the one that validators told of
	validators
}

// do asks a server once, and no server that has just not answered. post is the
// body of a POST, nil for a GET. The error is a *Fault.
func (f *fetcher) do(ctx context.Context, u *url.URL, post []byte, kind string, limit int, have validators) (*document, error) {
	before, paused := f.servers.get(u.Host)
	if paused && f.now().Before(before.until) {
		return nil, fault(doubtOf(before.err), "not asked again so soon: %w", before.err)
	}
	if paused { // one tries whether it is back; the others do not wait for that
		f.servers.put(u.Host, pause{f.now().Add(lastPause), before.faults, before.err}, 1)
	}
	doc, err := f.ask(ctx, u, post, kind, limit, have)
	switch {
	case err == nil:
		f.servers.remove(u.Host)
	case serverAtFault(err):
		f.servers.put(u.Host, before.after(f.now(), err), 1)
	}
	return doc, err
}

// serverAtFault reports whether another question to the same server would end in
// the same way.
func serverAtFault(err error) bool {
	switch doubtOf(err) {
	case Unreachable, TimedOut, AddressRefused:
		return true
	}
	return false
}

func (f *fetcher) ask(ctx context.Context, u *url.URL, post []byte, kind string, limit int, have validators) (*document, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, fault(Busy, "%d questions to other servers are under way", maxFetches)
	}
	req, err := request(ctx, u, post, kind, have)
	if err != nil {
		return nil, &Fault{BadURL, err}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, transportFault(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && have != (validators{}) {
		return &document{unchanged: true, validators: have}, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fault(HTTPStatus, "the server answered with status %d", resp.StatusCode)
	}
	if resp.Header.Get("Content-Encoding") != "" {
		return nil, fault(NotUnderstood, "the server has encoded its answer, unasked")
	}
	body, err := f.read(ctx, resp, limit)
	if err != nil {
		return nil, err
	}
	return &document{body: body, validators: validators{tag(resp, "ETag"), tag(resp, "Last-Modified")}}, nil
}

// maxValidator bounds what is kept of a validator.
const maxValidator = 256

func tag(resp *http.Response, field string) string {
	if v := resp.Header.Get(field); len(v) <= maxValidator {
		return v
	}
	return ""
}

func request(ctx context.Context, u *url.URL, post []byte, kind string, have validators) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if post != nil {
		method, body = http.MethodPost, bytes.NewReader(post)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if post != nil {
		req.Header.Set("Content-Type", kind)
	}
	if have.etag != "" {
		req.Header.Set("If-None-Match", have.etag)
	}
	if have.modified != "" {
		req.Header.Set("If-Modified-Since", have.modified)
	}
	return req, nil
}

func (f *fetcher) read(ctx context.Context, resp *http.Response, limit int) ([]byte, error) {
	if resp.ContentLength > int64(limit) {
		return nil, fault(TooLarge, "%d bytes are more than %d", resp.ContentLength, limit)
	}
	small := min(limit, smallBytes)
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(small)+1))
	if err == nil && len(body) > small && small < limit {
		select {
		case f.large <- struct{}{}:
			defer func() { <-f.large }()
		case <-ctx.Done():
			return nil, fault(Busy, "another long list is being read")
		}
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(resp.Body, int64(limit-len(body))+1))
		body = append(body, rest...)
	}
	if err != nil {
		return nil, transportFault(ctx, err)
	}
	if len(body) > limit {
		return nil, fault(TooLarge, "the answer goes on beyond %d bytes", limit)
	}
	return body, nil
}

func transportFault(ctx context.Context, err error) error {
	var known *Fault
	var timeout net.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(ctx.Err(), context.Canceled):
		return &Fault{Closing, nil}
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return fault(TimedOut, "the server has not answered in time")
	}
	return &Fault{Unreachable, err}
}
