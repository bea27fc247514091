package edge_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/edge"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/catalog"
)

type noConfig struct{}

// sluggish is a plugin that takes long to close.
type sluggish struct{ closing, closed chan struct{} }

func (*sluggish) LogSession(*l4.Session) {}

func (s *sluggish) Close() error {
	close(s.closing)
	<-s.closed
	return nil
}

// faulty is a plugin of a listener that panics.
type faulty struct{}

func (faulty) Conn(*l4.Info) bool { panic("test") }

// startWith starts an edge with one more kind of plugins. use applies a
// configuration.
func startWith(t *testing.T, kind plugins.Kind) (e *edge.Edge, use func(text string)) {
	t.Helper()
	kinds := append(catalog.Catalog{kind}, catalog.All()...)
	e, err := edge.New(edge.Options{Kinds: kinds, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = e.Shutdown(ctx)
	})
	return e, func(text string) {
		t.Helper()
		err := e.Reload(context.Background(), func() (*config.Config, error) {
			return config.Load([]byte(`_format_version: "3.0"`+"\n"+text), kinds, config.Origin{})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// startEchoServer starts a server that sends back what it gets.
func startEchoServer(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// echoed sends a byte and wants it back.
func echoed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// TestStreamsGoOnWhileSnapshotCloses ends the last stream of an old snapshot,
// whose plugin takes long to close: the loop serves its other streams meanwhile.
func TestStreamsGoOnWhileSnapshotCloses(t *testing.T) {
	slow := &sluggish{make(chan struct{}), make(chan struct{})}
	e, use := startWith(t, plugins.Define(plugins.Spec[noConfig]{
		Name: "sluggish", Scopes: plugins.Anywhere, Speaks: plugins.Stream,
		New: func(noConfig, plugins.Env) (any, error) { return slow, nil },
	}))
	defer close(slow.closed)
	host, port, _ := net.SplitHostPort(startEchoServer(t))
	text := `
node: {status: "off", log: {access: "off"}, listeners: [{name: plain, address: "127.0.0.1:0", serve: tcp}]}
services: [{name: s, protocol: tcp, host: ` + host + `, port: ` + port + `, routes: [{name: r, protocols: [tcp], sources: [{ip: 127.0.0.0/8}]}]}]
`
	use(text + "plugins: [{name: sluggish}]\n")
	at, _ := e.Addr("plain")
	last := dial(t, at.String())
	echoed(t, last)
	use(text)
	last.Close()
	<-slow.closing
	for range 2 * runtime.GOMAXPROCS(0) { // the loops have their turns
		echoed(t, dial(t, at.String()))
	}
}

// TestPanicOfListenerPlugin lets a plugin panic that judges connections: they are
// closed, and hold the snapshot no longer.
func TestPanicOfListenerPlugin(t *testing.T) {
	e, use := startWith(t, plugins.Define(plugins.Spec[noConfig]{
		Name: "faulty", Scopes: plugins.Listener, Speaks: plugins.HTTP | plugins.Stream,
		New: func(noConfig, plugins.Env) (any, error) { return faulty{}, nil },
	}))
	use(`node: {status: "off", log: {access: "off"}, listeners: [{name: plain, address: "127.0.0.1:0", plugins: [{name: faulty}]}]}`)
	at, _ := e.Addr("plain")
	if _, err := io.ReadAll(dial(t, at.String())); err != nil {
		t.Errorf("the connection ended with %v", err)
	}
	if n := e.Current().Users(); n != 1 {
		t.Errorf("the snapshot is held %d times, want once for being the current one", n)
	}
}
