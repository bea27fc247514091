package bench

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/bench/origin"
	"github.com/bulwark-edge/bulwark/bench/tcp"
	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l4/relay"
)

// dieAfter names the environment variable that makes the stand-in end after
// so many requests.
const dieAfter = "BULWARK_BENCH_TEST_DIE_AFTER"

// TestMain lets the test binary stand in for Bulwark, so that the runner is
// tested with three contestants without building the product.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "run" && os.Args[2] == "--config":
		err = standIn(os.Args[3])
	case len(os.Args) == 4 && os.Args[1] == "run" && os.Args[2] == "-c":
		err = serveFile(os.Args[3])
	case len(os.Args) == 7 && os.Args[1] == "bench" && os.Args[2] == "tcp-origin":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		err = tcp.Serve(ctx, tcp.OriginOptions{Echo: os.Args[4], Source: os.Args[6]}, os.Stdout)
	case len(os.Args) > 3 && os.Args[1] == "bench" && os.Args[2] == "tcp":
		if err = loadTCP(os.Args[3], os.Args[4:]); err == nil {
			os.Exit(0)
		}
	case len(os.Args) == 3 && os.Args[1] == "check":
		if _, err = loadFile(os.Args[2]); err == nil {
			os.Exit(0)
		}
	case len(os.Args) == 4 && os.Args[1] == "origin" && os.Args[2] == "--address":
		err = origin.Run(context.Background(), origin.Options{Address: os.Args[3]}, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == "version":
		fmt.Println("bulwark stand-in")
		os.Exit(0)
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// benchConfig is the part of peers/bulwark.yaml that the stand-in needs.
type benchConfig struct {
	Version string `yaml:"_format_version"`
	Node    struct {
		Listeners []struct{ Name, Address, Serve string }
		Log       struct{ Level, Access string }
		Status    string
	}
	Services []struct {
		Name, URL string
		Routes    []struct {
			Name         string
			Paths        []string
			Destinations []struct{ Port int }
		}
	}
	Certificates []struct {
		Cert, Key string
		SNIs      []string `yaml:"snis"`
	}
}

func readBenchConfig(path string) (*benchConfig, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := new(benchConfig)
	return c, yaml.Unmarshal(b, c)
}

// standIn is a plain reverse proxy on the listeners of the configuration.
func standIn(config string) error {
	c, err := readBenchConfig(config)
	if err != nil {
		return err
	}
	if c.Node.Listeners[0].Serve == "tcp" {
		return relayStreams(c)
	}
	to, err := url.Parse(c.Services[0].URL)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(c.Certificates[0].Cert), []byte(c.Certificates[0].Key))
	if err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(1 << 60)
	if s := os.Getenv(dieAfter); s != "" {
		var n int64
		if _, err := fmt.Sscan(s, &n); err != nil {
			return err
		}
		left.Store(n)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Add(-1) < 0 {
			fmt.Fprintln(os.Stderr, "the stand-in gives up")
			os.Exit(3)
		}
		proxy.ServeHTTP(w, r)
	})}
	ended := make(chan error)
	for _, l := range c.Node.Listeners {
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			return err
		}
		if l.Serve == "https" {
			ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}})
		}
		go func() { ended <- srv.Serve(ln) }()
	}
	return <-ended
}

// relayStreams is the stand-in for TCP: a relay of one loop.
func relayStreams(c *benchConfig) error {
	r, err := relay.New(1, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	failed := make(chan error, 1)
	for i, at := range c.Node.Listeners {
		to, err := netip.ParseAddrPort(strings.TrimPrefix(c.Services[i].URL, "tcp://"))
		if err != nil {
			return err
		}
		ln, err := net.Listen("tcp", at.Address)
		if err != nil {
			return err
		}
		go func() { failed <- relayFrom(ln, r.Loop(), to) }()
	}
	return <-failed
}

// relayFrom relays what comes to a listener.
func relayFrom(ln net.Listener, l *relay.Loop, to netip.AddrPort) error {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		c, err := sock.New(nc.(*net.TCPConn))
		if err != nil {
			return err
		}
		fd, err := c.Detach()
		if err != nil {
			return err
		}
		l.Post(func() {
			l.Dial(to, time.Minute, func(d *relay.Dial, err error) {
				if err != nil {
					fmt.Fprintln(os.Stderr, "dialing the origin:", err)
					sock.CloseFD(fd)
					return
				}
				l.Start(relay.Pair{Client: fd, Dialed: d, Idle: 10 * time.Minute})
			})
		})
	}
}

// loadTCP is bench tcp with the flags that a run passes.
func loadTCP(address string, args []string) error {
	o := tcp.Options{Address: address}
	f := flag.NewFlagSet("tcp", flag.ContinueOnError)
	f.StringVar(&o.Mode, "mode", "", "")
	f.IntVar(&o.Connections, "connections", 0, "")
	f.IntVar(&o.Size, "size", 0, "")
	f.DurationVar(&o.Duration, "duration", 0, "")
	f.BoolVar(&o.JSON, "json", false, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	return tcp.Run(context.Background(), o, os.Stdout)
}

// lines counts the lines of s that contain sub.
func lines(s, sub string) (n int) {
	for line := range strings.Lines(s) {
		if strings.Contains(line, sub) {
			n++
		}
	}
	return n
}
