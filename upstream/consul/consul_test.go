package consul

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/upstream"
)

func TestParseName(t *testing.T) {
	tests := []struct {
		name string
		want service
		ok   bool
	}{
		{"web.service.consul", service{name: "web"}, true},
		{"Web.Service.CONSUL.", service{name: "web"}, true},
		{"blue.web.service.consul", service{name: "web", tag: "blue"}, true},
		{"web.service.dc2.consul", service{name: "web", datacenter: "dc2"}, true},
		{"blue.web.service.dc2.consul", service{name: "web", tag: "blue", datacenter: "dc2"}, true},
		{"blue.web.service.dc2.dc.consul", service{name: "web", tag: "blue", datacenter: "dc2"}, true},
		{"_web._blue.service.consul", service{name: "web", tag: "blue"}, true},
		{"_web._tcp.service.dc2.consul", service{name: "web", datacenter: "dc2"}, true},
		{"service.service.consul", service{name: "service"}, true},
		{"dc.service.consul", service{name: "dc"}, true},
		{"_web.blue.service.consul", service{}, false},
		{"_._tcp.service.consul", service{}, false},
		{"service.consul", service{}, false},
		{"service.dc2.consul", service{}, false},
		{"a.b.web.service.consul", service{}, false},
		{"web.node.consul", service{}, false},
		{"web.query.consul", service{}, false},
		{"web.service.dc2.x.consul", service{}, false},
		{"web.service.consul.test", service{}, false},
		{"web..service.consul", service{}, false},
		{"we/b.service.consul", service{}, false},
		{strings.Repeat("x", 64) + ".service.consul", service{}, false},
		{"consul", service{}, false},
		{"", service{}, false},
	}
	for _, tt := range tests {
		got, ok := parseName(tt.name)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q is %+v, %v; want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseInstances(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", `[]`, "[]"},
		{"null", `null`, "[]"},
		{"an address of its own", `[{"Node":{"Address":"10.0.0.1"},"Service":{"Address":"10.0.0.2","Port":80}}]`, "[10.0.0.2:80*1]"},
		{"the node's address", `[{"Node":{"Address":"10.0.0.1"},"Service":{"Address":"","Port":80,"Weights":{"Passing":5}}}]`, "[10.0.0.1:80*5]"},
		{"a mapped address", `[{"Service":{"Address":"::ffff:10.0.0.2","Port":80}}]`, "[10.0.0.2:80*1]"},
		{"a name", `[{"Service":{"Address":"a.test","Port":80}}]`, "[a.test:80*1]"},
		{"no port", `[{"Service":{"Address":"10.0.0.2"}}]`, "[10.0.0.2:0*1]"},
		{"no address", `[{"Service":{"Port":80}}]`, "[]"},
		{"no such port", `[{"Service":{"Address":"10.0.0.2","Port":65536}},{"Service":{"Address":"10.0.0.2","Port":-1}}]`, "[]"},
		{"weights beyond bounds", `[{"Service":{"Address":"10.0.0.2","Port":1,"Weights":{"Passing":-7}}},{"Service":{"Address":"10.0.0.2","Port":2,"Weights":{"Passing":1000000}}}]`, "[10.0.0.2:1*1 10.0.0.2:2*65535]"},
		{"in order, each once", `[{"Service":{"Address":"10.0.0.3","Port":1}},{"Service":{"Address":"10.0.0.2","Port":2}},{"Service":{"Address":"10.0.0.3","Port":1}}]`, "[10.0.0.2:2*1 10.0.0.3:1*1]"},
		{"no list", `{"a":1}`, "error"},
		{"cut short", `[{"Service":`, "error"},
		{"other types", `[{"Service":{"Address":5}}]`, "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := parseInstances([]byte(tt.text))
			var out []string
			for _, in := range list {
				host := in.host
				if in.addr.IsValid() {
					host = in.addr.String()
				}
				out = append(out, fmt.Sprintf("%s:%d*%d", host, in.port, in.weight))
			}
			got := fmt.Sprint(out)
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("read %s (%v), want %s", got, err, tt.want)
			}
		})
	}
	var many strings.Builder
	for i := range maxInstances + 5 {
		fmt.Fprintf(&many, `,{"Service":{"Address":"10.0.%d.%d","Port":80}}`, i/256, i%256)
	}
	if list, err := parseInstances([]byte("[" + many.String()[1:] + "]")); err != nil || len(list) != maxInstances {
		t.Errorf("%d instances, %v; want %d", len(list), err, maxInstances)
	}
}

// FuzzInstances shows that whatever an agent sends is an error or within bounds.
func FuzzInstances(f *testing.F) {
	f.Add([]byte(`[{"Node":{"Address":"10.0.0.1"},"Service":{"Address":"","Port":80,"Weights":{"Passing":5}}}]`))
	f.Add([]byte(`[{"Service":{"Address":"fe80::1%eth0","Port":65535}}, null]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseInstances(text)
		if err != nil && list != nil || len(list) > maxInstances {
			t.Errorf("%d instances and %v", len(list), err)
		}
		for _, in := range list {
			if in.addr.IsValid() == (in.host != "") || in.weight < 1 || in.weight > 1<<16-1 {
				t.Errorf("the instance %+v", in)
			}
		}
	})
}

// TestServices shows what is asked and what it comes to.
func TestServices(t *testing.T) {
	next := fakeDNS{"shop.test": "192.0.2.1", "a.test": "192.0.2.8 192.0.2.9", "b.test": "192.0.2.9 192.0.2.7"}
	tests := []struct{ name, ask, want, query string }{
		{"a service", "web.service.consul", "10.0.0.1:8001 10.0.0.2:8002*3 10.0.0.3:8003", "passing=1"},
		{"a tag", "blue.web.service.consul", "10.0.0.2:8002", "passing=1&tag=blue"},
		{"a datacenter", "web.service.dc2.consul", "10.2.0.1:80", "dc=dc2&passing=1"},
		{"both", "blue.web.service.dc2.consul", "[2001:db8::1]:80", "dc=dc2&passing=1&tag=blue"},
		{"no instance", "none.service.consul", "error", "passing=1"},
		{"registered by a name", "named.service.consul", "192.0.2.8:80 192.0.2.9:80", "passing=1"},
		{"registered by names of one address", "shared.service.consul", "192.0.2.7:80*3 192.0.2.8:80*2 192.0.2.8:81 192.0.2.9:80*9 192.0.2.9:81", "passing=1"},
		{"registered by a name that is gone", "lost.service.consul", "error", "passing=1"},
		{"one of the names is gone", "half.service.consul", "10.0.0.1:80", "passing=1"},
		{"no port", "portless.service.consul", "10.0.0.1", "passing=1"},
		{"another name", "shop.test", "192.0.2.1", ""},
		{"another name below consul", "web.node.consul", "error", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAgent()
				a.services = map[string][]string{
					"web": {"10.0.0.2:8002*3", "10.0.0.1:8001", "node/10.0.0.3:8003"}, "blue.web": {"10.0.0.2:8002"},
					"web@dc2": {"10.2.0.1:80"}, "blue.web@dc2": {"[2001:db8::1]:80"}, "named": {"a.test:80"},
					"lost": {"gone.test:80"}, "half": {"gone.test:80", "10.0.0.1:80"}, "portless": {"10.0.0.1:0"},
					"shared": {"a.test:80*2", "b.test:80*3", "192.0.2.9:80*4", "a.test:81"},
				}
				r := start(t, a, next, settings())
				if got := resolve(t, r, tt.ask); got != tt.want {
					t.Errorf("resolved to %q, want %q", got, tt.want)
				}
				a.mu.Lock()
				defer a.mu.Unlock()
				got := ""
				if len(a.asked) > 0 {
					got = a.asked[0].Encode()
				}
				if got != tt.query {
					t.Errorf("asked %q, want %q", got, tt.query)
				}
			})
		})
	}
}

// TestFollow shows that a change is known as soon as the agent says so, and that
// questions are held back meanwhile.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		a.set("web", "10.0.0.1:80")
		r := start(t, a, fakeDNS{}, settings())
		answer, err := r.Resolve(t.Context(), "web.service.consul")
		if err != nil || answer.Expires != sock.Now()+int64(answerFresh) {
			t.Errorf("resolved to %+v, %v", answer, err)
		}
		time.Sleep(changePause)
		synctest.Wait()
		if a.held() != 1 || a.took() != 2 {
			t.Errorf("%d questions are held back, want 1 of 2", a.held())
		}
		a.set("web", "10.0.0.2:80")
		synctest.Wait()
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.2:80" {
			t.Errorf("resolved to %q at once after the change", got)
		}
		a.set("web")
		time.Sleep(changePause)
		synctest.Wait()
		if got := resolve(t, r, "web.service.consul"); got != "error" {
			t.Errorf("resolved to %q although no instance is left", got)
		}
		a.took()
		time.Sleep(3*time.Minute + time.Second)
		if n := a.took(); n < 2 || n > 4 {
			t.Errorf("%d questions in three quiet minutes", n)
		}
	})
}

// TestTrouble shows that the last good answer counts while the agent is in
// trouble, that it is asked less and less, and that it may begin anew.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		a.set("web", "10.0.0.1:80")
		r := start(t, a, fakeDNS{}, settings())
		resolve(t, r, "web.service.consul")
		troubles := []func(){
			func() { a.fail = 500 },
			func() { a.fail, a.raw = 0, "[" },
			func() { a.raw, a.noIndex = "[]", true },
			func() { a.noIndex, a.raw = false, strings.Repeat(" ", maxAnswerBytes+1) },
			func() { a.fail, a.raw = 307, "" },
		}
		for i, trouble := range troubles {
			a.change(trouble)
			time.Sleep(lastPause + time.Second)
			if got := resolve(t, r, "web.service.consul"); got != "10.0.0.1:80" {
				t.Errorf("resolved to %q in trouble %d", got, i)
			}
		}
		a.took()
		time.Sleep(5 * time.Minute)
		if n := a.took(); n < 5 || n > 10 {
			t.Errorf("%d questions in five minutes of trouble", n)
		}
		a.change(func() {
			a.fail, a.index = 0, 3
			a.services["web"] = []string{"10.0.0.9:80"}
		})
		time.Sleep(lastPause)
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.9:80" {
			t.Errorf("resolved to %q after the trouble", got)
		}
		// It begins anew while a question is held back, and counts from 1.
		synctest.Wait()
		a.change(func() {
			a.index = 1
			a.services["web"] = []string{"10.0.0.8:80"}
		})
		time.Sleep(2 * firstPause)
		a.set("web", "10.0.0.7:80")
		time.Sleep(2 * firstPause)
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.7:80" {
			t.Errorf("resolved to %q although the agent has begun anew", got)
		}
		// It was gone, and has not counted as far as before.
		a.change(func() { a.fail = 500 })
		time.Sleep(firstPause)
		a.change(func() {
			a.fail, a.index = 0, 0
			a.services["web"] = []string{"10.0.0.6:80"}
		})
		time.Sleep(5 * firstPause)
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.6:80" {
			t.Errorf("resolved to %q although the agent was started again", got)
		}
	})
}

// TestRedirect shows that the token is not carried to where the agent points.
func TestRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(fakeDNS{}, slog.New(slog.DiscardHandler))
		defer r.Close()
		p := new(pointer)
		r.transport = func(*Settings) http.RoundTripper { return p }
		r.Configure(settings(func(s *Settings) { s.Token = "secret" }))
		if got := resolve(t, r, "web.service.consul"); got != "error" {
			t.Errorf("resolved to %q", got)
		}
		if hosts := p.took(); !slices.Equal(hosts, []string{"consul.test:8500"}) {
			t.Errorf("asked %q", hosts)
		}
	})
}

// pointer answers every question by a redirection.
type pointer struct {
	mu    sync.Mutex
	hosts []string
}

func (p *pointer) took() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.hosts)
}

func (p *pointer) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hosts = append(p.hosts, r.URL.Host)
	w := httptest.NewRecorder()
	http.Redirect(w, r, "http://elsewhere.test/v1/health/service/web", http.StatusTemporaryRedirect)
	return w.Result(), nil
}

// TestFirstTrouble shows that nobody hangs on an agent that never answered, and
// that it is asked again by itself.
func TestFirstTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		a.fail = 403
		r := start(t, a, fakeDNS{}, settings())
		_, err := r.Resolve(t.Context(), "web.service.consul")
		if !errors.Is(err, upstream.ErrName) || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "No cluster leader") {
			t.Errorf("error %v", err)
		}
		a.change(func() {
			a.fail = 0
			a.services["web"] = []string{"10.0.0.1:80"}
		})
		time.Sleep(firstPause)
		synctest.Wait()
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.1:80" {
			t.Errorf("resolved to %q", got)
		}
	})
}

// TestEagerAgent shows that an agent that never holds a question back is not
// asked without a pause.
func TestEagerAgent(t *testing.T) {
	for name, lie := range map[string]func(*agent){
		"an index": func(*agent) {}, "index 0": func(a *agent) { a.index = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAgent()
				a.eager = true
				lie(a)
				r := start(t, a, fakeDNS{}, settings())
				resolve(t, r, "web.service.consul")
				time.Sleep(10 * time.Second)
				if n := a.took(); n > int(10*time.Second/changePause)+1 {
					t.Errorf("%d questions in ten seconds", n)
				}
			})
		})
	}
}

// TestUnused shows that a service is not watched once nobody asks for it, and
// is watched as long as somebody does.
func TestUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		a.set("web", "10.0.0.1:80")
		a.set("api", "10.0.0.2:80")
		r := start(t, a, fakeDNS{}, settings())
		resolve(t, r, "api.service.consul")
		for range 20 {
			resolve(t, r, "web.service.consul")
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if a.held() != 1 || len(r.watches) != 1 {
			t.Errorf("%d questions are held back and %d services watched, want 1", a.held(), len(r.watches))
		}
		if got := resolve(t, r, "api.service.consul"); got != "10.0.0.2:80" {
			t.Errorf("resolved to %q", got)
		}
	})
}

func TestWatchBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		r := start(t, a, fakeDNS{}, settings())
		for i := range maxWatches {
			resolve(t, r, fmt.Sprintf("s%d.service.consul", i))
		}
		_, err := r.Resolve(t.Context(), "more.service.consul")
		if !errors.Is(err, upstream.ErrName) || !strings.Contains(err.Error(), "watched already") {
			t.Errorf("error %v", err)
		}
	})
}

// TestConfigure shows that another token is used at once, that what is known
// counts meanwhile, and that without an agent names are the next resolver's.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent()
		a.set("web", "10.0.0.1:80")
		next := fakeDNS{"web.service.consul": "192.0.2.1"}
		r := start(t, a, next, settings(func(s *Settings) { s.Token = "one" }))
		resolve(t, r, "web.service.consul")
		r.Configure(settings(func(s *Settings) { s.Token = "one" }))
		time.Sleep(changePause)
		synctest.Wait()
		r.Configure(settings(func(s *Settings) { s.Token, s.Datacenter = "two", "dc2" }))
		a.set("web@dc2", "10.0.0.2:80")
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.1:80" && got != "10.0.0.2:80" {
			t.Errorf("resolved to %q right after the change of settings", got)
		}
		synctest.Wait()
		if got := resolve(t, r, "web.service.consul"); got != "10.0.0.2:80" {
			t.Errorf("resolved to %q by the other datacenter", got)
		}
		a.mu.Lock()
		tokens := slices.Compact(slices.Clone(a.tokens))
		a.mu.Unlock()
		if !slices.Equal(tokens, []string{"one", "two"}) {
			t.Errorf("the tokens %q were sent", tokens)
		}
		r.Configure(nil)
		synctest.Wait()
		if got := resolve(t, r, "web.service.consul"); got != "192.0.2.1" || a.held() != 0 {
			t.Errorf("resolved to %q without an agent, %d questions are held back", got, a.held())
		}
	})
}

// TestLeaving shows that who waits can leave, and that Close ends all.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(fakeDNS{}, slog.New(slog.DiscardHandler))
		r.transport = func(*Settings) http.RoundTripper { return mute{} }
		r.Configure(settings())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Resolve(ctx, "web.service.consul"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, upstream.ErrName) {
			t.Errorf("error %v, want the deadline's", err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := r.Resolve(t.Context(), "web.service.consul")
			failed <- err
		}()
		synctest.Wait()
		r.Close()
		if err := <-failed; !errors.Is(err, errClosed) {
			t.Errorf("error %v, want %v", err, errClosed)
		}
		if _, err := r.Resolve(t.Context(), "web.service.consul"); !errors.Is(err, errClosed) {
			t.Errorf("error %v, want %v", err, errClosed)
		}
	})
}

// TestMute shows that an agent that says nothing is given up some time after it
// should have spoken.
func TestMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(fakeDNS{}, slog.New(slog.DiscardHandler))
		defer r.Close()
		r.transport = func(*Settings) http.RoundTripper { return mute{} }
		r.Configure(settings())
		began := time.Now()
		if _, err := r.Resolve(t.Context(), "web.service.consul"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if d := time.Since(began); d != answerGrace {
			t.Errorf("the first question, which is not held back, is given up after %v, want %v", d, answerGrace)
		}

		began = time.Now()
		c := catalogue{settings: settings(), client: &http.Client{Transport: mute{}}}
		if _, _, err := c.ask(t.Context(), service{name: "web"}, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if d, want := time.Since(began), time.Minute+time.Minute/16+answerGrace; d != want {
			t.Errorf("given up after %v, want %v", d, want)
		}
	})
}

// mute never answers.
type mute struct{}

func (mute) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestOverNetwork shows the real thing, with TLS and below a path.
func TestOverNetwork(t *testing.T) {
	a := newAgent()
	a.set("web", "10.0.0.1:80")
	srv := httptest.NewTLSServer(http.StripPrefix("/consul", a))
	t.Cleanup(srv.Close)
	at, err := url.Parse(srv.URL + "/consul")
	if err != nil {
		t.Fatal(err)
	}
	cas := x509.NewCertPool()
	cas.AddCert(srv.Certificate())
	r := New(fakeDNS{}, slog.New(slog.DiscardHandler))
	t.Cleanup(r.Close)
	r.Configure(&Settings{Address: at, Wait: time.Minute, CAs: cas})
	if got := resolve(t, r, "web.service.consul"); got != "10.0.0.1:80" {
		t.Errorf("resolved to %q", got)
	}
	a.set("web", "10.0.0.2:80")
	for deadline := time.Now().Add(10 * time.Second); resolve(t, r, "web.service.consul") != "10.0.0.2:80"; {
		if time.Now().After(deadline) {
			t.Fatal("the change is not followed")
		}
		time.Sleep(time.Millisecond)
	}

	// A certificate of someone else is refused.
	stranger := New(fakeDNS{}, slog.New(slog.DiscardHandler))
	t.Cleanup(stranger.Close)
	stranger.Configure(&Settings{Address: at, Wait: time.Minute})
	if _, err := stranger.Resolve(t.Context(), "web.service.consul"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v, want one of the certificate", err)
	}
}
