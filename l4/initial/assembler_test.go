package initial

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulwark-edge/bulwark/tls/hello"
)

func assembler(t testing.TB) *Assembler {
	t.Helper()
	a, err := NewAssembler(Version1, []byte(testID))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sealed returns datagrams of one packet each, numbered from 0, with the frames
// given.
func sealed(t testing.TB, frames ...string) (datagrams [][]byte) {
	t.Helper()
	for i, f := range frames {
		datagrams = append(datagrams, packet{dcid: testID, number: uint64(i), frames: f}.seal(t))
	}
	return datagrams
}

func same(t *testing.T, got *hello.Info, msg string) {
	t.Helper()
	want, _, err := hello.ParseQUIC([]byte(msg))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(hello.Info{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAdd(t *testing.T) {
	msg := helloFor("www.example.com", 1800)
	short := helloFor("a.example", 300)
	shuffled := cryptoFrame(100, short[100:]) + "\x01\x00\x00" + cryptoFrame(0, short[:30]) + "\x01" + cryptoFrame(30, short[30:100])
	one := func(p packet) []byte { return p.seal(t) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name      string
		datagrams [][]byte
		want      string // the hello, after the last datagram and not before
	}{
		{"in one", sealed(t, cryptoFrame(0, short)), short},
		{"in shuffled pieces", sealed(t, shuffled), short},
		{"in two", sealed(t, cryptoFrame(0, msg[:1000]), cryptoFrame(1000, msg[1000:])), msg},
		{"in two, the second first", sealed(t, cryptoFrame(1000, msg[1000:]), cryptoFrame(0, msg[:1000])), msg},
		{"in two that overlap", sealed(t, cryptoFrame(0, msg[:1100]), cryptoFrame(900, msg[900:])), msg},
		{"a piece twice", sealed(t, cryptoFrame(0, msg[:1000]), cryptoFrame(0, msg[:1000]), cryptoFrame(1000, msg[1000:])), msg},
		{"a piece within others", sealed(t, cryptoFrame(0, msg[:1000]), cryptoFrame(500, msg[500:600]), cryptoFrame(1000, msg[1000:])), msg},
		{"a piece over others", sealed(t, cryptoFrame(10, msg[10:20])+cryptoFrame(40, msg[40:50])+cryptoFrame(5, msg[5:45])+cryptoFrame(0, msg[:7]), cryptoFrame(50, msg[50:1100]), cryptoFrame(1100, msg[1100:])), msg},
		{"an empty piece", sealed(t, cryptoFrame(0, "")+cryptoFrame(0, short)+cryptoFrame(16<<10, "")), short},
		{"acknowledgements", sealed(t, "\x02\x05\x00\x01\x01\x01\x00\x00\x01"+"\x03\x03\x00\x00\x00\x01\x02\x03"+cryptoFrame(0, short)), short},
		{"more behind the hello", sealed(t, cryptoFrame(0, short+"more")), short},
		{"a number of one byte", [][]byte{one(packet{dcid: testID, numberLen: 1, number: 3, frames: cryptoFrame(0, short)})}, short},
		{"numbers that go on in fewer bytes", [][]byte{
			one(packet{dcid: testID, number: 0x1234, frames: cryptoFrame(0, msg[:1000])}),
			one(packet{dcid: testID, number: 0x1235, numberLen: 1, frames: cryptoFrame(1000, msg[1000:])}),
		}, msg},
		{"the server's id in the second", [][]byte{
			one(packet{dcid: testID, frames: cryptoFrame(0, msg[:1000])}),
			one(packet{dcid: "srv", key: testID, number: 1, frames: cryptoFrame(1000, msg[1000:])}),
		}, msg},
		{"a token", [][]byte{one(packet{dcid: testID, token: "of an earlier connection", frames: cryptoFrame(0, short)})}, short},
		{"two packets in one datagram", [][]byte{join(
			one(packet{dcid: testID, frames: cryptoFrame(0, msg[:900]), size: -1}),
			one(packet{dcid: testID, number: 1, frames: cryptoFrame(900, msg[900:]), size: -1}),
		)}, msg},
		{"0-RTT behind", [][]byte{join(
			one(packet{dcid: testID, frames: cryptoFrame(0, short)}),
			[]byte("\xd0"+v1+"\x08"+testID+"\x00\x14"+strings.Repeat("p", 20)),
		)}, short},
		{"0-RTT before", [][]byte{join(
			[]byte("\xd0"+v1+"\x08"+testID+"\x00\x14"+strings.Repeat("p", 20)),
			one(packet{dcid: testID, frames: cryptoFrame(0, short)}),
		)}, short},
		{"filling behind that looks like a packet", [][]byte{join(
			one(packet{dcid: testID, frames: cryptoFrame(0, msg[:200]), size: 300}), bytes.Repeat([]byte("\xc0"+v1+"\xff"), 200),
		), one(packet{dcid: testID, number: 1, frames: cryptoFrame(200, msg[200:1200])}), one(packet{dcid: testID, number: 2, frames: cryptoFrame(1200, msg[1200:])})}, msg},
		{"filling behind", [][]byte{join(
			one(packet{dcid: testID, frames: cryptoFrame(0, short), size: 300}), make([]byte, 900),
		)}, short},
		{"another's packet behind", [][]byte{
			join(
				one(packet{dcid: testID, frames: cryptoFrame(0, short[:100]), size: 600}),
				one(packet{dcid: "another1", key: testID, number: 1, frames: cryptoFrame(0, "something else"), size: 600}),
			),
			one(packet{dcid: testID, number: 2, frames: cryptoFrame(100, short[100:])}),
		}, short},
		{"one that was made up, behind", [][]byte{join(
			one(packet{dcid: testID, frames: cryptoFrame(0, short[:100]), size: 600}),
			one(packet{dcid: testID, key: "another", number: 1, frames: cryptoFrame(0, "something else"), size: 600}),
			one(packet{dcid: testID, number: 2, frames: cryptoFrame(100, short[100:]), size: 600}),
		)}, short},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := assembler(t)
			for i, d := range tt.datagrams {
				before := bytes.Clone(d)
				info, err := a.Add(d)
				if !bytes.Equal(d, before) {
					t.Fatal("the datagram was changed")
				}
				switch last := i == len(tt.datagrams)-1; {
				case err != nil:
					t.Fatalf("datagram %d: %v", i, err)
				case !last && info != nil:
					t.Fatalf("datagram %d: it is complete already", i)
				case last && info == nil:
					t.Fatal("it is not complete")
				case last:
					same(t, info, tt.want)
					if again, err := a.Add(nil); again != info || err != nil {
						t.Errorf("asked again: %v, error %v", again, err)
					}
				}
			}
		})
	}
}

// TestRetry holds that a Retry packet begins anew, with the keys of its own id.
func TestRetry(t *testing.T) {
	msg := helloFor("www.example.com", 1800)
	old := assembler(t)
	if _, err := old.Add(packet{dcid: testID, frames: cryptoFrame(0, msg[:1000])}.seal(t)); err != nil {
		t.Fatal(err)
	}
	second := packet{dcid: "srv", token: "token", number: 2, frames: cryptoFrame(0, msg[:1000])}.seal(t)
	if _, err := old.Add(second); !errors.Is(err, ErrDecrypt) {
		t.Errorf("with the old keys: %v", err)
	}
	h, err := ParseHeader(second, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAssembler(h.Version, h.DCID)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := a.Add(second); info != nil || err != nil {
		t.Fatalf("got %v, error %v", info, err)
	}
	info, err := a.Add(packet{dcid: "srv", token: "token", number: 3, frames: cryptoFrame(1000, msg[1000:])}.seal(t))
	if err != nil || info == nil {
		t.Fatalf("got %v, error %v", info, err)
	}
	same(t, info, msg)
}

// TestPassing holds that datagrams which anyone may have made up do no harm.
func TestPassing(t *testing.T) {
	msg := helloFor("a.example", 0)
	good := packet{dcid: testID, frames: cryptoFrame(0, msg)}
	v2packet := good
	v2packet.version = Version2
	other := good
	other.key = "another connection"
	changed := good.seal(t)
	changed[700] ^= 1
	small := good
	small.size = MinDatagram - 1
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrNoInitial},
		{"too small", small.seal(t), ErrNoInitial},
		{"no QUIC", bytes.Repeat([]byte{0}, MinDatagram), ErrNoInitial},
		{"an unknown version", bytes.Repeat([]byte{0x8a}, MinDatagram), ErrNoInitial},
		{"broken", append([]byte("\xc0"+v1+"\xff"), make([]byte, MinDatagram)...), ErrNoInitial},
		{"another version", v2packet.seal(t), ErrNoInitial},
		{"other keys", other.seal(t), ErrDecrypt},
		{"changed", changed, ErrDecrypt},
	}
	a := assembler(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if info, err := a.Add(tt.in); info != nil || !errors.Is(err, tt.want) {
				t.Errorf("got %v, error %v; want %v", info, err, tt.want)
			}
		})
	}
	for range 2 * maxPackets {
		if _, err := a.Add(changed); !errors.Is(err, ErrDecrypt) {
			t.Fatal(err)
		}
	}
	info, err := a.Add(good.seal(t))
	if err != nil || info == nil {
		t.Fatalf("afterwards: %v, error %v", info, err)
	}
	same(t, info, msg)
}

func TestRefusals(t *testing.T) {
	msg := helloFor("a.example", 0)
	piece := cryptoFrame(0, msg[:50])
	var scattered strings.Builder
	for i := range maxSpans + 1 {
		scattered.WriteString(cryptoFrame(1+2*i, "x"))
	}
	ping := make([]string, maxPackets+1)
	for i := range ping {
		ping[i] = "\x01"
	}
	tests := []struct {
		name   string
		frames []string // of one packet each; the last is what is wrong
		want   error
		text   string
	}{
		{"another message", []string{cryptoFrame(0, "\x02")}, hello.ErrMalformed, "no ClientHello"},
		{"a bad name", []string{cryptoFrame(0, helloFor("192.0.2.1", 0))}, hello.ErrServerName, ""},
		{"a hello of no QUIC", []string{cryptoFrame(0, strings.Replace(msg, "\x00\x39\x00\x00", "\x00\x3a\x00\x00", 1))}, hello.ErrMalformed, "transport parameters"},
		{"a long hello", []string{cryptoFrame(0, "\x01\x00\x40\x00")}, hello.ErrTooLong, ""},
		{"far away", []string{cryptoFrame(hello.MaxBytes, "x")}, hello.ErrTooLong, ""},
		{"farther away", []string{cryptoFrame(1<<62-1, "x")}, hello.ErrTooLong, ""},
		{"two things in one place", []string{piece, cryptoFrame(49, "\xff\xff")}, ErrMalformed, "two things"},
		{"two things in one packet", []string{piece + cryptoFrame(10, "other")}, ErrMalformed, "two things"},
		{"two things in what lies apart", []string{cryptoFrame(100, "abc"), cryptoFrame(98, "xyzabc")}, ErrMalformed, "two things"},
		{"too many pieces", []string{scattered.String()}, ErrTooMany, ""},
		{"too many packets", ping, ErrTooMany, ""},
		{"CRYPTO cut", []string{"\x06\x00\x44\xb1" + strings.Repeat("x", 1100)}, ErrMalformed, "CRYPTO frame is cut"},
		{"RESET_STREAM", []string{"\x04\x00\x00\x00"}, ErrMalformed, "no place"},
		{"STREAM", []string{"\x08\x00x"}, ErrMalformed, "no place"},
		{"CONNECTION_CLOSE", []string{"\x1c\x00\x00\x00"}, ErrMalformed, "no place"},
		{"CONNECTION_CLOSE of the application", []string{"\x1d\x00\x00"}, ErrMalformed, "no place"},
		{"HANDSHAKE_DONE", []string{"\x1e"}, ErrMalformed, "no place"},
		{"a frame's type in two bytes", []string{"\x40\x06\x00\x00"}, ErrMalformed, "no place"},
		{"ACK below 0", []string{"\x02\x01\x00\x00\x02"}, ErrMalformed, "below packet 0"},
		{"ACK range below 0", []string{"\x02\x05\x00\x01\x02\x02\x00"}, ErrMalformed, "below packet 0"},
		{"ACK cut", []string{strings.Repeat("\x01", MinDatagram) + "\x02\x05\x00"}, ErrMalformed, "ACK frame is cut"},
		{"ACK with its counts cut", []string{strings.Repeat("\x01", MinDatagram) + "\x03\x05\x00\x00\x00\x01"}, ErrMalformed, "ACK frame is cut"},
		{"ACK of endless ranges", []string{"\x02\xff\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"}, ErrMalformed, "ACK frame is cut"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := assembler(t)
			datagrams := sealed(t, tt.frames...)
			for i, d := range datagrams {
				info, err := a.Add(d)
				if i < len(datagrams)-1 {
					if info != nil || err != nil {
						t.Fatalf("packet %d: %v, error %v", i, info, err)
					}
					continue
				}
				if info != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
					t.Fatalf("got %v, error %v; want %v with %q", info, err, tt.want, tt.text)
				}
				if _, again := a.Add(sealed(t, cryptoFrame(0, msg))[0]); again != err {
					t.Errorf("and then %v", again)
				}
			}
		})
	}
}

// TestRefusedPackets are packets that are wrong though their frames are right.
func TestRefusedPackets(t *testing.T) {
	msg := helloFor("a.example", 0)
	tests := []struct {
		name   string
		packet packet
		want   error
		text   string
	}{
		{"reserved bits", packet{dcid: testID, reserved: 0x08, frames: cryptoFrame(0, msg)}, ErrMalformed, "reserved"},
		{"a short id of the client's", packet{dcid: "1234567", frames: cryptoFrame(0, msg)}, ErrNoInitial, ""},
		{"a short id with a token", packet{dcid: "1234567", token: "t", frames: cryptoFrame(0, msg)}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := NewAssembler(Version1, []byte(tt.packet.dcid))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Add(tt.packet.seal(t)); !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("no frames", func(t *testing.T) {
		// Such a packet is shorter than any that can be protected with a number
		// of one byte, so that it stands beside a whole one.
		b := packet{dcid: testID, size: -1}.seal(t)
		b = append(b, packet{dcid: testID, number: 1, frames: cryptoFrame(0, msg)}.seal(t)...)
		if _, err := assembler(t).Add(b); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "no frames") {
			t.Errorf("got %v", err)
		}
	})
}

// TestAnyOrder sends hellos of every size in random pieces, in random order.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 4))
		msg := helloFor("www.example.com", r.IntN(8000))
		var frames []string
		for at := 0; at < len(msg); {
			n := min(1+r.IntN(900), len(msg)-at)
			from := max(0, at-r.IntN(20)) // overlapping the one before
			frames = append(frames, cryptoFrame(from, msg[from:at+n]))
			at += n
		}
		r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
		a := assembler(t)
		var info *hello.Info
		for i, d := range sealed(t, frames...) {
			var err error
			if info, err = a.Add(d); err != nil {
				t.Fatalf("seed %d, packet %d: %v", seed, i, err)
			}
		}
		if info == nil {
			t.Fatalf("seed %d: it is not complete", seed)
		}
		same(t, info, msg)
	}
}
