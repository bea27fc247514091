package edge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/testkit/pki"
)

// streams is a client of HTTP/2 whose exchanges share a connection.
type streams struct {
	t     *testing.T
	name  string
	dials atomic.Int32
	*http.Client
}

func (r *standingRig) streams(name string, who pki.Pair) *streams {
	s := &streams{t: r.t, name: name}
	transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		s.dials.Add(1)
		return tls.Dial("tcp", r.edge.At("https").String(), &tls.Config{
			ServerName: name, InsecureSkipVerify: true, Certificates: []tls.Certificate{who.TLS()}, NextProtos: []string{"h2"},
		})
	}}
	r.t.Cleanup(transport.CloseIdleConnections)
	s.Client = &http.Client{Transport: transport}
	return s
}

// streamUnderWay is an exchange whose request and answer go on.
type streamUnderWay struct {
	t       *testing.T
	request *io.PipeWriter
	answer  *http.Response
}

func (s *streams) open(path string) *streamUnderWay {
	s.t.Helper()
	content, request := io.Pipe()
	q, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "https://"+s.name+path, content)
	if err != nil {
		s.t.Fatal(err)
	}
	q.ContentLength = 1000000 // so that the upstream gets no chunks
	answer, err := s.Do(q)
	if err != nil {
		s.t.Fatal(err)
	}
	u := &streamUnderWay{s.t, request, answer}
	s.t.Cleanup(func() {
		_ = request.Close()
		_ = answer.Body.Close()
	})
	u.reads("ready\n")
	return u
}

func (u *streamUnderWay) reads(want string) {
	u.t.Helper()
	late := time.AfterFunc(standingTime, func() { _ = u.answer.Body.Close() })
	defer late.Stop()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(u.answer.Body, got); err != nil || string(got) != want {
		u.t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// goesOn fails unless the exchange carries bytes both ways.
func (u *streamUnderWay) goesOn() {
	u.t.Helper()
	go func() { _, _ = io.WriteString(u.request, "more\n") }()
	u.reads("more\n")
}

// isReset fails unless the exchange alone is broken off.
func (u *streamUnderWay) isReset(what string) {
	u.t.Helper()
	late := time.AfterFunc(standingTime, func() { _ = u.answer.Body.Close() })
	defer late.Stop()
	_, err := io.Copy(io.Discard, u.answer.Body)
	if reset, ok := errors.AsType[http2.StreamError](err); !ok || reset.Code == http2.ErrCodeNo {
		u.t.Errorf("%s has ended with %v, want a stream's reset", what, err)
	}
}

// What a client's certificate has let in ends stream by stream over HTTP/2. The
// connection goes on, and what else is on it, each with a verdict of its own.
func TestStandingOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, host, verify string
		after              int // what another request on the connection is answered
		end                func(*standingRig, *standingConfig, pki.Pair)
	}{
		{"a policy", "strict.test", "FAILED:revoked", http.StatusMisdirectedRequest, func(r *standingRig, _ *standingConfig, who pki.Pair) {
			r.revoke(r.ca, who.Cert)
		}},
		{"mtls-auth", "tunnel.test", "FAILED:not_allowed", http.StatusUnauthorized, func(r *standingRig, c *standingConfig, _ pki.Pair) {
			c.consumers = "[{username: ann}]"
			r.use(*c)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newStandingRig(t)
			c := r.config()
			c.extra = `  - name: whoever
    hosts: [tunnel.test]
    paths: [/whoever]
    request_buffering: false
    response_buffering: false
    plugins: [{name: mtls-auth, config: {ca_certificates: [0855b320-0dd2-547d-891d-000000000001], skip_consumer_lookup: true}}]`
			r.use(c)
			joe := r.ca.Client("joe")
			his, hers := r.streams(tt.host, joe), r.streams(tt.host, r.ca.Client("ann"))
			first, second, other := his.open("/first"), his.open("/second"), hers.open("/other")
			var beside *streamUnderWay
			if tt.host == "tunnel.test" {
				beside = his.open("/whoever")
			}
			tt.end(r, &c, joe)
			first.isReset("the first one")
			second.isReset("the second one")
			if beside != nil {
				beside.goesOn()
				_ = beside.answer.Body.Close()
				r.logs(`"/whoever"`, `"client_verify":"SUCCESS"`)
			}
			answer, err := his.Get("https://" + tt.host + "/after")
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != tt.after {
				t.Errorf("afterwards it is answered %d, want %d", answer.StatusCode, tt.after)
			}
			if n := his.dials.Load(); n != 1 {
				t.Errorf("there were %d connections, want one", n)
			}
			other.goesOn()
			_ = other.answer.Body.Close()
			r.logs(`"/first"`, tt.verify, `"reason":"client_certificate"`, `"status":200`)
			r.logs(`"/second"`, tt.verify, `"reason":"client_certificate"`, `"status":200`)
			r.logs(`"/after"`, `"client_verify":"`)
			r.logs(`"/other"`, `"client_verify":"SUCCESS"`)
		})
	}
}
