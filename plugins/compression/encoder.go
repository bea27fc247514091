package compression

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/bulwark-edge/bulwark/l7"
)

// encoder is what the three libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

var (
	_ encoder = (*zstd.Encoder)(nil)
	_ encoder = (*brotli.Writer)(nil)
	_ encoder = (*gzip.Writer)(nil)
)

// maxEncoderBytes bounds the memory of the encoders that are in use at once in
// the process.
const maxEncoderBytes = 512 << 20

// encoderBytes is what an encoder takes at the most, about, as it was measured.
func encoderBytes(c coding, l Levels) int64 {
	switch {
	case c == codingZstd && l.Zstd >= 3:
		return 6 << 20
	case c == codingZstd && l.Zstd == 2:
		return 3 << 20
	case c == codingBr && l.Br >= 2:
		return 6 << 20
	case c == codingGzip:
		return 3 << 19
	}
	return 1 << 20
}

// windowBytes is how far back zstd and Brotli look. More takes more memory, here
// and at the client, and hardly pays for what is sent over the web.
const (
	windowBits  = 18
	windowBytes = 1 << windowBits
)

// encoders lends an instance's encoders.
type encoders struct {
	pools [codings]sync.Pool
	bytes [codings]int64 // of one encoder
	inUse *atomic.Int64  // bytes, of the process
}

func newEncoders(l Levels, inUse *atomic.Int64) (*encoders, error) {
	build := [codings]func() (encoder, error){
		codingZstd: func() (encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevel(l.Zstd)),
				zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(windowBytes))
		},
		codingBr: func() (encoder, error) {
			return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: l.Br, LGWin: windowBits}), nil
		},
		codingGzip: func() (encoder, error) { return gzip.NewWriterLevel(nil, l.Gzip) },
	}
	e := &encoders{inUse: inUse}
	for c, f := range build {
		e.bytes[c] = encoderBytes(coding(c), l)
		first, err := f() // what the options are, they stay
		if err != nil {
			return nil, fmt.Errorf("building an encoder for %q: %w", codingNames[c], err)
		}
		e.pools[c].New = func() any {
			enc, err := f()
			if err != nil {
				panic("BUG: an encoder could be built once only: " + err.Error())
			}
			return enc
		}
		e.pools[c].Put(first)
	}
	return e, nil
}

// take lends an encoder; nil if those in use leave no room.
func (e *encoders) take(c coding) *filter {
	if e.inUse.Add(e.bytes[c]) > maxEncoderBytes {
		e.inUse.Add(-e.bytes[c])
		return nil
	}
	f := &filter{from: e, coding: c, enc: e.pools[c].Get().(encoder)}
	f.enc.Reset(&f.to)
	return f
}

var _ l7.BodyFilter = (*filter)(nil)

// filter compresses the content of one answer.
type filter struct {
	from   *encoders
	coding coding
	enc    encoder
	to     sink
	dirty  bool // content was written since the last flush
}

// sink is where an encoder writes: to what the present call was given.
type sink struct{ next io.Writer }

// Write passes on compressed content.
func (s *sink) Write(p []byte) (int, error) { return s.next.Write(p) }

// Write compresses p.
func (f *filter) Write(next io.Writer, p []byte) error {
	f.to.next, f.dirty = next, true
	_, err := f.enc.Write(p)
	return err
}

// Flush passes on all there was so far.
func (f *filter) Flush(next io.Writer) error {
	if !f.dirty {
		return nil
	}
	f.to.next, f.dirty = next, false
	return f.enc.Flush()
}

// Close ends the compressed content.
func (f *filter) Close(next io.Writer) error {
	f.to.next = next
	err := f.enc.Close()
	f.giveBack(err == nil)
	return err
}

// Abort gives the encoder up.
func (f *filter) Abort() { f.giveBack(false) }

// giveBack gives the encoder back, but not one that may be in any state.
func (f *filter) giveBack(intact bool) {
	f.from.inUse.Add(-f.from.bytes[f.coding])
	f.to.next = io.Discard
	if intact {
		f.enc.Reset(nil)
		f.from.pools[f.coding].Put(f.enc)
	}
	f.enc = nil
}
