package telemetry

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
)

// TestSinkPipe writes more than a pipe holds, by a descriptor that would wait:
// the sink gives up when it is told to, and what it took arrives, in order and
// once. The same goes where the kernel cannot write without waiting.
func TestSinkPipe(t *testing.T) {
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = byte(i >> 8 * 31)
	}
	for name, now := range map[string]bool{"without waiting": true, "by PIPE_BUF": false} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			s := &sink{fd: int(w.Fd()), what: "log", name: "pipe", pipe: now} // Fd makes it blocking
			abort := make(chan struct{})
			close(abort)
			took, err := s.write(text, abort)
			if !errors.Is(err, errSinkAborted) || took == 0 || took >= len(text) {
				t.Errorf("a pipe that nobody reads took %d bytes, %v", took, err)
			}
			if s.pipe != now {
				t.Errorf("pipe is %v after a write", s.pipe)
			}

			got := make(chan []byte)
			go func() {
				all, err := io.ReadAll(r)
				if err != nil {
					t.Error(err)
				}
				got <- all
			}()
			if n, err := s.write(text[took:], nil); err != nil || n != len(text)-took {
				t.Errorf("with a reader %d bytes of %d were written, %v", n, len(text)-took, err)
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(<-got, text) {
				t.Error("what was read is not what was written")
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
