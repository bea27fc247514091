package udp

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// answering starts a server of datagrams for the test; answer gets each one and
// a function that sends to where it came from.
func answering(t *testing.T, answer func(b []byte, send func(b []byte))) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			answer(b[:n], func(b []byte) { _, _ = c.WriteToUDPAddrPort(b, from) })
		}
	})
	t.Cleanup(func() { c.Close(); done.Wait() })
	return c.LocalAddr().String()
}

func measure(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != r.Answers+r.Lost {
		t.Errorf("sent %d, of which %d came back and %d did not", r.Sent, r.Answers, r.Lost)
	}
	return r
}

func TestClosedLoop(t *testing.T) {
	target := answering(t, func(b []byte, send func([]byte)) { send(b) })
	r := measure(t, Options{Target: target, Flows: 10, Duration: 100 * time.Millisecond, Timeout: 20 * time.Second})
	if r.Answers < 10 || r.Lost != 0 || r.Late != 0 || r.Foreign != 0 || r.Errors != 0 || r.Latency.Max == 0 {
		t.Errorf("got %+v", r)
	}
}

func TestOpenLoop(t *testing.T) {
	target := answering(t, func(b []byte, send func([]byte)) { send(b) })
	r := measure(t, Options{Target: target, Flows: 3, Rate: 1000, Duration: 200 * time.Millisecond, Timeout: 20 * time.Second})
	if r.Sent == 0 || r.Sent > 200 || r.Lost != 0 || r.Foreign != 0 {
		t.Errorf("got %+v, want at most 200 sent", r)
	}
}

// TestFaults counts what does not come back, comes twice or is not one's own.
func TestFaults(t *testing.T) {
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	target := answering(t, func(b []byte, send func([]byte)) {
		switch n++; n {
		case 1: // lost
		case 2:
			send(b)
			send(b)
		case 3:
			send(append(bytes.Clone(b), 'x'))
			send(b)
		case 4:
			b[7] ^= 1 // another flow's
			send(b)
			b[7] ^= 1
			send(b)
		default:
			send(b)
			cancel()
		}
	})
	r, err := Measure(ctx, Options{Target: target, Flows: 1, Duration: time.Minute, Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Interrupted || r.Lost < 1 || r.Late < 1 || r.Foreign != 2 {
		t.Errorf("got %+v, want one lost, one twice and two foreign", r)
	}
}

func TestSearch(t *testing.T) {
	// Whoever sends more than 20 datagrams within 10 ms loses the rest.
	began, n := time.Now(), 0
	target := answering(t, func(b []byte, send func([]byte)) {
		if now := time.Now(); now.Sub(began) > 10*time.Millisecond {
			began, n = now, 0
		}
		if n++; n <= 20 {
			send(b)
		}
	})
	var progress strings.Builder
	r, err := Measure(t.Context(), Options{
		Target: target, Flows: 2, Loss: 0.5, Duration: 50 * time.Millisecond, Timeout: 100 * time.Millisecond, Progress: &progress,
	})
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(progress.String(), "\n"); lines < searchSteps+1 || r.MaxLoss != 0.5 {
		t.Errorf("%d rates were tried:\n%s", lines, &progress)
	}
}

func TestEcho(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Echo(ctx, c) }()
	r := measure(t, Options{Target: c.LocalAddr().String(), Flows: 20, Size: 1000, Duration: 100 * time.Millisecond, Timeout: 20 * time.Second})
	if r.Answers < 20 || r.Lost != 0 || r.Foreign != 0 {
		t.Errorf("got %+v", r)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunPrints(t *testing.T) {
	target := answering(t, func(b []byte, send func([]byte)) { send(b) })
	o := Options{Target: target, Flows: 1, Duration: 10 * time.Millisecond, Timeout: 20 * time.Second}
	var table, object strings.Builder
	if err := Run(t.Context(), o, &table); err != nil || !strings.Contains(table.String(), "lost") {
		t.Errorf("printed %q and %v", &table, err)
	}
	o.JSON = true
	var r Result
	if err := Run(t.Context(), o, &object); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(object.String()), &r); err != nil || r.Version != ResultVersion || r.Answers == 0 {
		t.Errorf("printed %s: %v", &object, err)
	}
	silent := answering(t, func([]byte, func([]byte)) {})
	o = Options{Target: silent, Flows: 1, Duration: 10 * time.Millisecond, Timeout: 10 * time.Millisecond}
	if err := Run(t.Context(), o, &table); err == nil {
		t.Error("that nothing came back is no error")
	}
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		o    Options
		want string // in the error
	}{
		{Options{Target: "localhost"}, "target"},
		{Options{Target: "127.0.0.1:0"}, "target"},
		{Options{Target: "127.0.0.1:9", Flows: -1}, "flows"},
		{Options{Target: "127.0.0.1:9", Flows: maxFlows + 1}, "flows"},
		{Options{Target: "127.0.0.1:9", Size: headBytes - 1}, "size"},
		{Options{Target: "127.0.0.1:9", Rate: -1}, "rate"},
		{Options{Target: "127.0.0.1:9", Loss: 1}, "loss"},
		{Options{Target: "127.0.0.1:9", Loss: 0.1, Rate: 5}, "both"},
		{Options{Target: "127.0.0.1:9", Duration: -1}, "duration"},
		{Options{Target: "127.0.0.1:9", Timeout: -1}, "timeout"},
	} {
		if err := test.o.plan(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want an error of %s", test.o, err, test.want)
		}
	}
}
