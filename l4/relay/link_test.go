package relay

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/internal/epoll"
)

func TestHalfClose(t *testing.T) {
	tests := []struct {
		name          string
		first, second func(k *link) *net.TCPConn
		side          Side
	}{
		{"the client closes first", (*link).ofClient, (*link).ofUpstream, Client},
		{"the upstream closes first", (*link).ofUpstream, (*link).ofClient, Upstream},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newRig(t, 1).relay(nil)
			a, b := tt.first(k), tt.second(k)
			send(t, a, "question")
			if err := a.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expect(t, b, "question")
			expectEnd(t, b)
			for range 3 { // the other way stays open
				send(t, b, "answer")
				expect(t, a, "answer")
			}
			if len(k.results) != 0 {
				t.Error("the link has ended although one way is open")
			}
			b.Close()
			expectEnd(t, a)
			k.wantEnd(EndClosed, tt.side)
		})
	}
}

func (k *link) ofClient() *net.TCPConn   { return k.client }
func (k *link) ofUpstream() *net.TCPConn { return k.upstream }

func TestCounts(t *testing.T) {
	k := newRig(t, 1).relay(func(p *Pair) { p.First = []byte("PROXY ") })
	send(t, k.client, "12345")
	expect(t, k.upstream, "PROXY 12345")
	send(t, k.upstream, "123")
	expect(t, k.client, "123")
	want := Counts{FromClient: 5, ToUpstream: 11, FromUpstream: 3, ToClient: 3}
	await(t, "all is counted", func() bool { return k.Counts() == want })
	k.client.Close()
	k.upstream.Close()
	if diff := cmp.Diff(want, k.wantEnd(EndClosed, Client).Counts); diff != "" {
		t.Error(diff)
	}
}

// TestFirstIsLarge shows that what goes first also does when there is no room
// for all of it, and that what follows stays behind.
func TestFirstIsLarge(t *testing.T) {
	first := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	k := newRig(t, 1).relay(func(p *Pair) { p.First = first })
	send(t, k.client, "and then")
	if err := k.client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(k.upstream)
	if err != nil || !bytes.Equal(got, append(first, "and then"...)) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	tests := []struct {
		name string
		from func(k *link) *net.TCPConn
		to   func(k *link) *net.TCPConn
		side Side
	}{
		{"client", (*link).ofClient, (*link).ofUpstream, Client},
		{"upstream", (*link).ofUpstream, (*link).ofClient, Upstream},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newRig(t, 1).relay(nil)
			send(t, tt.from(k), "something")
			expect(t, tt.to(k), "something")
			reset(tt.from(k))
			expectReset(t, tt.to(k))
			if r := k.wantEnd(EndReset, tt.side); r.Err == nil {
				t.Error("the result has no error")
			}
		})
		t.Run(tt.name+" after its close", func(t *testing.T) {
			k := newRig(t, 1).relay(nil)
			_ = tt.from(k).CloseWrite()
			expectEnd(t, tt.to(k))
			reset(tt.from(k))
			// Without anything to read, writing tells.
			await(t, "writing fails", func() bool {
				_, err := tt.to(k).Write([]byte("x"))
				return err != nil
			})
			k.wantEnd(EndReset, tt.side)
		})
		t.Run(tt.name+" while the other is stalled", func(t *testing.T) {
			k := newRig(t, 1).relay(nil)
			go func() { _, _ = tt.from(k).Write(make([]byte, 64<<20)) }()
			await(t, "the way is full", k.isStalled)
			reset(tt.from(k))
			k.wantEnd(EndReset, tt.side)
			_, err := io.Copy(io.Discard, tt.to(k))
			if err == nil {
				t.Error("the other side saw an orderly end")
			}
		})
	}
}

// isStalled reports whether nothing has moved for a while.
func (k *link) isStalled() bool {
	before := k.Counts()
	time.Sleep(100 * time.Millisecond)
	after := k.Counts()
	return before == after && before.FromClient+before.FromUpstream > 0
}

// TestAnswerBeforeReset shows that an answer is not lost to the reset that a
// server sends when it closes without having read everything.
func TestAnswerBeforeReset(t *testing.T) {
	for range 50 {
		k := newRig(t, 1).relay(nil)
		send(t, k.client, "too long a question")
		await(t, "the question has gone on", func() bool { return k.Counts().ToUpstream > 0 })
		send(t, k.upstream, "no")
		k.upstream.Close() // with unread bytes: a reset
		expect(t, k.client, "no")
		expectReset(t, k.client)
		k.wantEnd(EndReset, Upstream)
	}
}

// TestEndlessIdle shows that the longest time there is does not overflow.
func TestEndlessIdle(t *testing.T) {
	k := newRig(t, 1).relay(func(p *Pair) { p.Idle = math.MaxInt64 })
	time.Sleep(2 * epoll.Tick)
	send(t, k.client, "x")
	expect(t, k.upstream, "x")
}

func TestIdle(t *testing.T) {
	k := newRig(t, 1).relay(func(p *Pair) { p.Idle = 300 * time.Millisecond })
	for range 10 { // longer than the idle time in all
		time.Sleep(50 * time.Millisecond)
		send(t, k.client, "x")
		expect(t, k.upstream, "x")
	}
	r := k.wantEnd(EndIdle, NoSide)
	if at := r.Ended - k.moved; at < k.idle {
		t.Errorf("ended %s after the last byte, want at least %s", time.Duration(at), time.Duration(k.idle))
	}
	expectEnd(t, k.client)
	expectEnd(t, k.upstream)
}

// TestIdleWhileStalled shows that a receiver that takes nothing does not hold
// the link for ever.
func TestIdleWhileStalled(t *testing.T) {
	k := newRig(t, 1).relay(func(p *Pair) { p.Idle = 300 * time.Millisecond })
	go func() { _, _ = k.client.Write(make([]byte, 64<<20)) }()
	k.wantEnd(EndIdle, NoSide)
}

func TestAbort(t *testing.T) {
	r := newRig(t, 2)
	cause := errors.New("drained")
	k := r.relay(nil)
	for range 3 {
		k.Abort(cause)
	}
	if res := k.wantEnd(EndAborted, NoSide); !errors.Is(res.Err, cause) {
		t.Errorf("error %v, want %v", res.Err, cause)
	}
	expectEnd(t, k.client)
	expectEnd(t, k.upstream)
	k.Abort(cause) // has no effect
}

func TestCloseEndsEverything(t *testing.T) {
	r := newRig(t, 2)
	var all []*link
	for range 10 {
		all = append(all, r.relay(nil))
	}
	r.Close()
	all = append(all, r.relay(nil)) // too late
	for _, k := range all {
		if res := k.wantEnd(EndAborted, NoSide); !errors.Is(res.Err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", res.Err)
		}
		expectEnd(t, k.client)
		expectEnd(t, k.upstream)
		k.Abort(nil)
		if len(k.results) != 0 {
			t.Error("Done was called twice")
		}
	}
}

// TestBackPressure shows that a receiver that takes nothing holds its sender
// up, that nothing but a bounded number of bytes lies in between, and that all
// of it arrives at last.
func TestBackPressure(t *testing.T) {
	k := newRig(t, 1).relay(nil)
	const size = 64 << 20
	all := strings.Repeat("0123456789abcdef", size/16)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(k.client, all)
		if err == nil {
			err = k.client.CloseWrite()
		}
		sent <- err
	}()
	await(t, "the way is full", k.isStalled)
	if len(sent) != 0 {
		t.Fatal("all could be sent although nothing was received")
	}
	if c := k.Counts(); c.FromClient-c.ToUpstream > pipeBytes {
		t.Errorf("%d bytes are held", c.FromClient-c.ToUpstream)
	}
	got, err := io.ReadAll(k.upstream)
	if err != nil || string(got) != all {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestSpliceFollowsFlow shows that bulk is spliced, that the pipe goes back
// when nothing flows, and that small messages are read and written again.
func TestSpliceFollowsFlow(t *testing.T) {
	r := newRig(t, 1)
	k := r.relay(nil)
	l := r.Loops()[0]
	state := func() (bulk bool, lent, open int) {
		done := make(chan struct{})
		l.Post(func() {
			bulk = k.dirs[Client].bulk
			open = l.pipes.count
			lent = open - len(l.pipes.idle)
			close(done)
		})
		<-done
		return bulk, lent, open
	}
	for range 3 {
		go func() { _, _ = k.client.Write(make([]byte, 32<<20)) }()
		await(t, "the way is full", k.isStalled)
		// The way may be full before there was enough for it to count as bulk.
		spliced := false
		for range 32 {
			bulk, lent, _ := state()
			spliced = spliced || bulk && lent == 1
			if _, err := io.CopyN(io.Discard, k.upstream, 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if !spliced {
			t.Error("32 MiB were not spliced at any look")
		}
		await(t, "the pipe is given back", func() bool { _, lent, _ := state(); return lent == 0 })
		for i := range 2 * calmMoves {
			send(t, k.client, "small")
			expect(t, k.upstream, "small")
			// The bulk may have ended with a small move already.
			if bulk, _, open := state(); bulk && i+1 >= calmMoves || open != 1 {
				t.Errorf("after %d small messages: bulk %v, %d pipes", i+1, bulk, open)
			}
		}
	}
}

// TestNoPipes shows that bulk is copied when there are no pipes to be had.
func TestNoPipes(t *testing.T) {
	r := newRig(t, 1)
	done := make(chan struct{})
	r.Loops()[0].Post(func() { r.loops[0].pipes.count = maxPipes; close(done) })
	<-done
	k := r.relay(nil)
	all := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() { _, _ = k.client.Write(all); _ = k.client.CloseWrite() }()
	got, err := io.ReadAll(k.upstream)
	if err != nil || !bytes.Equal(got, all) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// TestPanicInDone shows that a panic is told, and ends neither the loop nor
// another link.
func TestPanicInDone(t *testing.T) {
	told := make(chan any, 1)
	r, err := New(1, func(v any, _ []byte) { told <- v })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	g := &rig{t, r}
	calm := g.relay(nil)
	bad := g.relay(func(p *Pair) { p.Done = func(Result) { panic("done") } })
	bad.client.Close()
	bad.upstream.Close()
	if v := <-told; v != "done" {
		t.Errorf("told of %v", v)
	}
	open := descriptors(t)
	_, address := listen(t)
	l := r.Loop()
	l.Post(func() {
		l.Dial(netip.MustParseAddrPort(address), patience, func(*Dial, error) { panic("dialled") })
	})
	if v := <-told; v != "dialled" {
		t.Errorf("told of %v", v)
	}
	await(t, "the dialled connection is closed", func() bool { return descriptors(t) == open+1 })
	send(t, calm.client, "still there")
	expect(t, calm.upstream, "still there")
}
