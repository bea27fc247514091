package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

const (
	// pace is how often the open loop sends what is due.
	pace = 250 * time.Microsecond
	// maxBurst is how much of it at a time; what is due beyond is sent later.
	maxBurst = 4096
	// highest is the longest time that histograms tell, in microseconds.
	highest = int64(time.Minute / time.Microsecond)
	// inBatch is how many datagrams a flow reads by one call.
	inBatch = 8
)

// Run measures and prints the result to stdout. It returns an error if not a
// single datagram came back.
func Run(ctx context.Context, o Options, stdout io.Writer) error {
	r, err := Measure(ctx, o)
	if err != nil {
		return err
	}
	if err := r.write(&o, stdout); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	if r.Answers == 0 {
		return errors.New("no datagram came back")
	}
	return nil
}

// Measure sends the load that o describes. When ctx ends early, it returns what
// was measured until then, marked as interrupted.
func Measure(ctx context.Context, o Options) (*Result, error) {
	if err := o.plan(); err != nil {
		return nil, err
	}
	if o.Loss > 0 {
		return o.search(ctx)
	}
	return o.once(ctx)
}

// load is one measurement. What is below loop belongs to the loop.
type load struct {
	target netip.AddrPort
	rate   float64
	run    uint32

	loop    *loop
	flows   []*flow
	in      *batch
	out     []byte
	timeout int64
	sending bool
	turn    int // the flow whose turn it is in the open loop

	sent, lost, late, foreign int64
	latency                   *hdrhistogram.Histogram
	errs                      int64
	firstErr                  error
}

// once measures at one rate, or in the closed loop.
func (o *Options) once(ctx context.Context) (_ *Result, err error) {
	l := &load{
		target: o.target, rate: o.Rate, run: rand.Uint32(), timeout: int64(o.Timeout),
		in: newBatch(inBatch, o.Size+1, false), out: make([]byte, o.Size),
		latency: hdrhistogram.New(1, highest, 3),
	}
	if l.loop, err = newLoop(); err != nil {
		return nil, err
	}
	l.loop.swept = l.sweep
	var running sync.WaitGroup
	defer func() {
		l.loop.close()
		running.Wait()
		for _, f := range l.flows {
			unix.Close(f.fd)
		}
	}()
	for i := range o.Flows {
		f, err := l.newFlow(uint32(i))
		if err != nil {
			running.Go(l.loop.run)
			return nil, fmt.Errorf("opening flow %d: %w", i, err)
		}
		l.flows = append(l.flows, f)
	}
	running.Go(l.loop.run)
	return l.drive(ctx, o)
}

// drive runs the load from outside of the loop.
func (l *load) drive(ctx context.Context, o *Options) (*Result, error) {
	started := time.Now()
	l.loop.on(func() {
		l.sending = true
		if l.rate == 0 {
			for _, f := range l.flows {
				f.send(sock.Now())
			}
		}
	})
	interrupted := !l.wait(ctx, o.Duration)
	l.loop.on(func() { l.sending = false })
	elapsed := time.Since(started)
	// What is under way may still come back.
	for deadline := time.Now().Add(o.Timeout); time.Now().Before(deadline) && l.open() > 0; {
		time.Sleep(time.Millisecond)
	}
	var r *Result
	l.loop.on(func() {
		for _, f := range l.flows {
			f.giveUp(1 << 62)
		}
		r = l.result(o, started, elapsed, interrupted)
	})
	return r, nil
}

// wait lets time pass, in the open loop by sending; false: ctx ended before.
func (l *load) wait(ctx context.Context, d time.Duration) bool {
	end := time.NewTimer(d)
	defer end.Stop()
	if l.rate == 0 {
		select {
		case <-end.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	began, n := sock.Now(), int64(0)
	for {
		select {
		case <-end.C:
			return true
		case <-ctx.Done():
			return false
		case <-tick.C:
			due := int64(float64(sock.Now()-began) / float64(time.Second) * l.rate)
			burst := min(due-n, maxBurst)
			from := n
			n += burst
			l.loop.on(func() { l.burst(began, from, burst) })
		}
	}
}

// burst sends n datagrams of the open loop, by the flows in turn.
func (l *load) burst(began, from, n int64) {
	for i := range n {
		due := began + int64(float64(from+i)/l.rate*float64(time.Second))
		l.flows[l.turn].send(max(due, 1))
		l.turn = (l.turn + 1) % len(l.flows)
	}
}

func (l *load) open() (n int) {
	l.loop.on(func() {
		for _, f := range l.flows {
			n += f.open
		}
	})
	return n
}

func (l *load) answered(latency int64) {
	us := min(max(latency/int64(time.Microsecond), 1), highest)
	if err := l.latency.RecordValue(us); err != nil {
		panic("BUG: recording a value within the bounds: " + err.Error())
	}
}

func (l *load) failed(err error) {
	l.errs++
	if l.firstErr == nil {
		l.firstErr = err
	}
}

// sweep gives up what has taken too long.
func (l *load) sweep() {
	if l.sending {
		for _, f := range l.flows {
			f.giveUp(l.loop.now - l.timeout)
		}
	}
}
