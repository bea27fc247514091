package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bulwark-edge/bulwark/bench/origin"
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
			Name  string
			Paths []string
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

// lines counts the lines of s that contain sub.
func lines(s, sub string) (n int) {
	for line := range strings.Lines(s) {
		if strings.Contains(line, sub) {
			n++
		}
	}
	return n
}
