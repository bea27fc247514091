package edge

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/tls/policy"
)

// walking returns an edge that serves nobody, with one that judges what stands when
// the test says so, and the log.
func walking(t *testing.T) (*Edge, *standing, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	e, err := New(Options{Version: "test", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s := newStanding(e)
	t.Cleanup(func() {
		s.end()
		s.work.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	reloadTo(t, e, "5s")
	return e, s, log
}

// reloadTo lets a configuration serve whose drain tells it from others.
func reloadTo(t *testing.T, e *Edge, drain string) {
	t.Helper()
	yaml := "_format_version: \"3.0\"\nnode: {status: off, drain: " + drain + ", log: {access: off}, listeners: [{name: http, address: \"127.0.0.1:0\", serve: http}]}\n"
	if err := e.Reload(t.Context(), func() (*config.Config, error) { return config.Load([]byte(yaml), nil, config.Origin{}) }); err != nil {
		t.Fatal(err)
	}
}

// stand puts one into the walk that a listener's site judges, and returns what it is
// ended for.
func (s *standing) stand(listener string, site func(*site) *policy.Set) <-chan error {
	ended := make(chan error, 1)
	s.add(&stand{
		info: &l4.Info{Listener: listener, TLS: &l4.TLS{Client: new(policy.Client)}}, site: site, verified: true,
		end: func(why error) { ended <- why },
	})
	return ended
}

// noSet is the site of a listener without TLS.
func noSet(*site) *policy.Set { return nil }

// A panic in a verdict ends what it was about, and is no end of the walk.
func TestWalkSurvivesPanics(t *testing.T) {
	_, s, _ := walking(t)
	before := s.edge.env.Metrics.Panics.Load()
	ended := s.stand("http", func(*site) *policy.Set { panic("a verdict") })
	other := s.stand("http", noSet)
	s.walk(t.Context())
	for name, c := range map[string]<-chan error{"the one of the panic": ended, "another one": other} {
		select {
		case why := <-c:
			if want := map[string]error{"the one of the panic": errNoVerdict, "another one": errListenerGone}[name]; !errors.Is(why, want) {
				t.Errorf("%s was ended for %v, want %v", name, why, want)
			}
		default:
			t.Errorf("%s was not ended", name)
		}
	}
	if n := s.edge.env.Metrics.Panics.Load() - before; n != 1 {
		t.Errorf("%d panics were counted, want 1", n)
	}
}

// By what a snapshot says that serves no more, nothing is ended.
func TestStaleVerdictEndsNothing(t *testing.T) {
	e, s, _ := walking(t)
	now := s.now()
	snapshot := e.hold()
	defer snapshot.release()
	ended := make(chan error, 1)
	stale := &stand{info: &l4.Info{Listener: "gone"}, site: noSet, verified: true, end: func(why error) { ended <- why }}
	s.add(stale)
	reloadTo(t, e, "6s")
	if !s.judge(t.Context(), snapshot, now, stale, false) {
		t.Error("the verdict is not known")
	}
	if len(ended) > 0 {
		t.Fatal("it was ended by a snapshot that serves no more")
	}
	if stale.judged == s.now() {
		t.Error("the verdict counts under the snapshot that serves")
	}
	s.walk(t.Context())
	if len(ended) != 1 {
		t.Error("it was not judged by the snapshot that serves")
	}
}

// A question that nobody has room for, or that ended with its context, ends nothing.
func TestUnknownVerdictEndsNothing(t *testing.T) {
	_, s, _ := walking(t)
	ended := s.stand("gone", noSet)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.walk(ctx)
	if len(ended) > 0 {
		t.Error("it was ended by a verdict whose context had ended")
	}
	for range standingAsks {
		s.asks <- struct{}{}
	}
	for one := range s.all {
		s.ask(t.Context(), one)
		if one.asking != nil {
			t.Errorf("over %d questions are under way", standingAsks)
		}
	}
	for range standingAsks {
		<-s.asks
	}
}

// However many are ended at once, the log gets few lines.
func TestEndingManyIsTold(t *testing.T) {
	_, s, log := walking(t)
	const many = 3 * standingLines
	for range many {
		s.stand("gone", noSet)
	}
	log.Reset()
	s.told = time.Now().Add(time.Hour) // all of them within one second
	s.walk(t.Context())
	each, text := strings.Count(log.String(), "ending what its client's certificate"), log.String()
	if each != standingLines || !strings.Contains(text, "ended more of what") {
		t.Errorf("%d lines of their own for %d, want %d:\n%s", each, many, standingLines, text)
	}
}

// An exchange whose client does not take what is sent keeps nobody else from ending.
func TestEndThatWaitsIsAside(t *testing.T) {
	_, s, _ := walking(t)
	let, begun := make(chan struct{}), make(chan struct{})
	s.add(&stand{info: &l4.Info{Listener: "gone"}, site: noSet, verified: true, waits: true, end: func(error) { close(begun); <-let }})
	s.walk(t.Context()) // ends although nothing has let it go on
	<-begun
	s.walk(t.Context()) // and does not end it again
	if ended := s.stand("gone", noSet); true {
		s.walk(t.Context())
		if len(ended) != 1 {
			t.Error("another one was not ended")
		}
	}
	close(let)
	s.work.Wait()
}
