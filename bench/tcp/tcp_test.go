package tcp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// startOrigin serves until the test ends.
func startOrigin(t *testing.T) (echo, source netip.AddrPort) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready := make(chan [2]netip.AddrPort, 1)
	done := make(chan error, 1)
	var out bytes.Buffer
	go func() {
		done <- Serve(ctx, OriginOptions{
			Echo: "127.0.0.1:0", Source: "127.0.0.1:0",
			Ready: func(echo, source netip.AddrPort) { ready <- [2]netip.AddrPort{echo, source} },
		}, &out)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case at := <-ready:
		return at[0], at[1]
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return echo, source
}

func TestModes(t *testing.T) {
	echo, source := startOrigin(t)
	tests := []struct {
		name string
		o    Options
		want func(r *Result) bool
	}{
		{"round trips", Options{Address: echo.String(), Connections: 5}, func(r *Result) bool {
			return r.Mode == RoundTrips && r.Opened == 5 && r.Bytes >= r.Trips*DefaultSize && r.P50 > 0 && r.P99 >= r.P50
		}},
		{"large messages", Options{Address: echo.String(), Connections: 3, Size: maxSize}, func(r *Result) bool {
			return r.Opened == 3 && r.Bytes >= r.Trips*maxSize
		}},
		{"connections", Options{Address: echo.String(), Mode: Connections, Connections: 5, Size: 1000}, func(r *Result) bool {
			return r.Opened >= r.Trips && r.Opened <= r.Trips+5 && r.Bytes >= r.Trips*1000
		}},
		{"bulk", Options{Address: source.String(), Mode: Bulk, Connections: 2}, func(r *Result) bool {
			return r.Opened == 2 && r.Bytes > 1<<20
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Duration = 300 * time.Millisecond
			tt.o.JSON = true
			var out bytes.Buffer
			if err := Run(t.Context(), tt.o, &out); err != nil {
				t.Fatal(err)
			}
			var r Result
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if r.Version != ResultVersion || r.Failures() != 0 || r.Seconds <= 0 || !tt.want(&r) || tt.o.Mode != Bulk && r.Trips == 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestTable(t *testing.T) {
	echo, _ := startOrigin(t)
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Address: echo.String(), Duration: 50 * time.Millisecond}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"rtt of " + echo.String(), "64 connections", "round trips", "p99.9", "errors       0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

// TestErrors shows that what goes wrong is counted by what was being done, and
// that a run of nothing but errors is one.
func TestErrors(t *testing.T) {
	tests := []struct {
		name  string
		serve func(c net.Conn)
		doing string
	}{
		{"closed", func(c net.Conn) { _, _ = io.ReadFull(c, make([]byte, DefaultSize)); c.Close() }, "receiving"},
		{"other bytes", func(c net.Conn) { _, _ = c.Write([]byte("hello")); _, _ = io.Copy(io.Discard, c); c.Close() }, "receiving"},
		{"silent", func(c net.Conn) { _, _ = io.Copy(io.Discard, c); c.Close() }, "waiting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go tt.serve(c)
				}
			}()
			r, err := Measure(t.Context(), Options{
				Address: ln.Addr().String(), Connections: 2, Duration: 400 * time.Millisecond, Timeout: 100 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			if f := r.Errors[tt.doing]; f.Count == 0 || f.First == "" || r.Trips != 0 {
				t.Errorf("got %+v", r)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		var out bytes.Buffer
		if err := Run(t.Context(), Options{Address: ln.Addr().String(), Duration: 50 * time.Millisecond}, &out); err == nil {
			t.Error("no error although nothing has come back")
		}
		if !strings.Contains(out.String(), "connecting") {
			t.Errorf("the table does not tell:\n%s", out.String())
		}
	})
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"no address", Options{}, "reading the address"},
		{"mode", Options{Address: "127.0.0.1:1", Mode: "fast"}, `mode "fast" is unknown; known are rtt, bulk, connect`},
		{"connections", Options{Address: "127.0.0.1:1", Connections: -1}, "connections is -1; want 1 to 100000"},
		{"size", Options{Address: "127.0.0.1:1", Size: 2 << 20}, "size is 2097152; want 1 to 1048576"},
		{"duration", Options{Address: "127.0.0.1:1", Duration: -1}, "duration is"},
		{"timeout", Options{Address: "127.0.0.1:1", Timeout: -1}, "timeout is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Measure(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if err := Serve(t.Context(), OriginOptions{}, io.Discard); err == nil {
		t.Error("an origin without an address serves")
	}
	if err := Serve(t.Context(), OriginOptions{Echo: "127.0.0.1:x"}, io.Discard); err == nil {
		t.Error("an origin with a wrong address serves")
	}
}
