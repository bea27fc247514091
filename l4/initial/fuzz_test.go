package initial

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bulwark-edge/bulwark/tls/hello"
)

// FuzzParseHeader walks through a datagram as whoever takes it apart does.
func FuzzParseHeader(f *testing.F) {
	for _, s := range samples {
		f.Add(s.packet(f), 8)
	}
	f.Add([]byte("\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), 0)
	f.Add([]byte("\x40idrest"), 2)
	f.Fuzz(func(t *testing.T, b []byte, short int) {
		before := bytes.Clone(b)
		for rest := b; len(rest) > 0; {
			h, err := ParseHeader(rest, short)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				return
			}
			if h.Size <= 0 || h.Size > len(rest) {
				t.Fatalf("size %d of %d", h.Size, len(rest))
			}
			if len(h.DCID)+len(h.SCID)+len(h.Token) >= h.Size {
				t.Fatalf("the parts of %+v are greater than it", h)
			}
			long := rest[0]&0x80 != 0
			if long == (h.Type == TypeShort) || long && !bytes.Contains(rest, h.DCID) || !long && len(h.DCID) != short {
				t.Fatalf("header %+v", h)
			}
			// What lies behind the packet plays no part.
			if h.number > 0 {
				alone, err := ParseHeader(rest[:h.Size], short)
				if err != nil || alone.Type != h.Type || alone.Size != h.Size || alone.number != h.number {
					t.Fatalf("with more behind it %+v, alone %+v, error %v", h, alone, err)
				}
			}
			rest = rest[h.Size:]
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the datagram was changed")
		}
	})
}

// known reports whether err is one that Add promises.
func known(err error) bool {
	for _, e := range []error{
		ErrMalformed, ErrDecrypt, ErrNoInitial, ErrTooMany,
		hello.ErrMalformed, hello.ErrTooLong, hello.ErrServerName,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// FuzzDatagram gives a client's bytes as they stand.
func FuzzDatagram(f *testing.F) {
	for _, s := range samples {
		f.Add(s.packet(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b, 0)
		if err != nil || h.Type != TypeInitial {
			return
		}
		a, err := NewAssembler(h.Version, h.DCID)
		if err != nil {
			t.Fatalf("header %+v: %v", h, err)
		}
		info, err := a.Add(b)
		if err != nil && !known(err) || info != nil && err != nil {
			t.Fatalf("got %v, error %v", info, err)
		}
	})
}

// pieces is a slow model of what the frames say of the handshake: what stands
// at each place, and whether two things do.
type pieces struct {
	at       map[uint64]byte
	conflict bool
	far      bool
}

func (p *pieces) add(offset uint64, data []byte) error {
	for i, c := range data {
		k := offset + uint64(i)
		p.far = p.far || k >= hello.MaxBytes
		if was, ok := p.at[k]; ok && was != c {
			p.conflict = true
		}
		p.at[k] = c
	}
	return nil
}

// start returns what there is from the beginning.
func (p *pieces) start() (b []byte) {
	for {
		c, ok := p.at[uint64(len(b))]
		if !ok {
			return b
		}
		b = append(b, c)
	}
}

// FuzzFrames gives the frames of two packets, protected as they should be, and
// holds the result to the model.
func FuzzFrames(f *testing.F) {
	msg := helloFor("www.example.com", 1500)
	f.Add([]byte(cryptoFrame(0, msg[:900])), []byte(cryptoFrame(900, msg[900:])))
	f.Add([]byte(cryptoFrame(700, msg[700:])), []byte(cryptoFrame(0, msg[:800])))
	f.Add([]byte("\x02\x05\x00\x01\x01\x01\x00"+cryptoFrame(0, helloFor("a.example", 0))), []byte("\x01"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		if len(one) > 8000 || len(two) > 8000 {
			return
		}
		a, err := NewAssembler(Version1, []byte(testID))
		if err != nil {
			t.Fatal(err)
		}
		model := pieces{at: map[uint64]byte{}}
		var info *hello.Info
		for i, payload := range [][]byte{one, two} {
			// What is cut off at the end would go on in the padding.
			payload = append(bytes.Clone(payload), make([]byte, MinDatagram)...)
			datagram := packet{dcid: testID, number: uint64(i), frames: string(payload)}.seal(t)
			if info, err = a.Add(datagram); err != nil {
				if info != nil || !known(err) {
					t.Fatalf("got %v, error %v", info, err)
				}
				return
			}
			if frames(payload, model.add) != nil {
				t.Fatal("frames that are wrong got in")
			}
			if model.conflict || model.far {
				t.Fatalf("got in, conflict %v, far %v", model.conflict, model.far)
			}
			want, _, err := hello.ParseQUIC(model.start())
			if err != nil || (want == nil) != (info == nil) {
				t.Fatalf("got %v, the model %v, error %v", info, want, err)
			}
			if info != nil {
				if info.JA4() != want.JA4() || info.ServerName != want.ServerName {
					t.Fatalf("got %+v, want %+v", info, want)
				}
				return
			}
		}
	})
}
