package udp

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBatchCutShort has an error in the middle of a batch, which ends it before
// the socket is empty: what is behind it is received without anything further
// that comes.
func TestBatchCutShort(t *testing.T) {
	nowhere, err := unix.Mmap(-1, 0, 4096, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(nowhere) }()
	const sent, lost = 10, 3 // the datagram that the kernel cannot hand over
	var good *byte
	var mend func()
	up := echo(t, "127.0.0.1:0")
	p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: newStub(func(d *Datagram) Decision {
		mend()
		return to(up)(d)
	})})
	c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
	p.onLoops(func(l *lane) {
		slot := &l.in.iovs[lost]
		good, slot.Base = slot.Base, &nowhere[0]
		mend = func() { slot.Base = good }
		for i := range byte(sent) {
			send(t, c, []byte{i})
		}
	})
	for i := range byte(sent) {
		if i == lost {
			continue
		}
		if got := receive(t, c); len(got) != 1 || got[0] != i {
			t.Errorf("got %v, want %d", got, i)
		}
	}
}

// TestAnswersAtTheEnd ends flows that have answers which did not leave yet: they
// leave, and the Handler is told of them.
func TestAnswersAtTheEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(l *lane)
	}{
		{"all flows", func(l *lane) { l.endAll(Drained) }},
		{"one flow", func(l *lane) {
			for _, f := range l.flows.all() {
				l.end(f, End{Reason: Idle})
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := listen(t, "127.0.0.1:0")
			h := newStub(to(addrOf(up)))
			p := serve(t, New(Limits{}), "127.0.0.1:0", 1, Options{Handler: h})
			c := dialTo(t, netip.MustParseAddrPort(p.Addr()))
			send(t, c, []byte("question"))
			b := make([]byte, 100)
			_, from, err := up.ReadFromUDPAddrPort(b)
			if err != nil {
				t.Fatal(err)
			}
			p.onLoops(func(l *lane) {
				if _, err := up.WriteToUDPAddrPort([]byte("answer"), from); err != nil {
					t.Error(err)
				}
				for _, f := range l.flows.all() {
					poll := []unix.PollFd{{Fd: int32(f.fd), Events: unix.POLLIN}}
					if n, err := unix.Poll(poll, int(patience.Milliseconds())); n != 1 {
						t.Errorf("no answer comes: %v", err)
					}
					f.Ready(unix.POLLIN)
				}
				test.end(l)
			})
			if got := receive(t, c); string(got) != "answer" {
				t.Errorf("got %q", got)
			}
			want := Traffic{1, 6}
			if e := h.ends(t, 1)[0]; e.sent != want || e.upstreamReceived != want {
				t.Errorf("the Handler is told of %+v sent and %+v received of the upstream, want %+v", e.sent, e.upstreamReceived, want)
			}
			if n := p.Counts().Sent; n != want {
				t.Errorf("sent %+v, want %+v", n, want)
			}
		})
	}
}
