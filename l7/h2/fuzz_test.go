package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7/h1/syntax"
)

// FuzzConn lets a client send any frames, and checks that the connection ends or
// goes on, that what is answered are frames of which each stream gets at most one
// end, and that nothing is left behind.
func FuzzConn(f *testing.F) {
	seed := func(write func(fr *http2.Framer, e *engine)) {
		var b bytes.Buffer
		e := &engine{}
		e.enc = newEncoder(&e.block)
		write(http2.NewFramer(&b, nil), e)
		f.Add(b.Bytes())
	}
	block := func(e *engine, list ...string) []byte { return e.fields(list...) }
	seed(func(fr *http2.Framer, e *engine) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(e, get("/")...), EndStream: true, EndHeaders: true})
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block(e, request("POST", "/", "content-length", "3")...), EndHeaders: true})
		_ = fr.WriteData(3, true, []byte("abc"))
		_ = fr.WritePing(false, [8]byte{})
	})
	seed(func(fr *http2.Framer, e *engine) {
		all := block(e, request("POST", "/x?y", "cookie", "a", "cookie", "b", "priority", "u=1")...)
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: all[:5]})
		_ = fr.WriteContinuation(1, true, all[5:])
		_ = fr.WriteDataPadded(1, false, []byte("abc"), make([]byte, 5))
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(e, "x-t", "1"), EndStream: true, EndHeaders: true})
		_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
		_ = fr.WriteWindowUpdate(0, 1000)
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		_ = fr.WritePriorityUpdate(1, "u=0, i")
		_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	seed(func(fr *http2.Framer, e *engine) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(e, request("CONNECT", "/", ":protocol", "websocket")...), EndHeaders: true})
		_ = fr.WriteData(1, true, []byte("abc"))
	})
	f.Fuzz(func(t *testing.T, frames []byte) {
		e := connect(t, echo, nil)
		_ = e.client.SetDeadline(time.Now().Add(patience))
		go func() {
			_, _ = io.WriteString(e.client, syntax.HTTP2Preface)
			_ = http2.NewFramer(e.client, nil).WriteSettings()
			_, _ = e.client.Write(frames)
			_ = e.client.CloseWrite()
		}()
		done := make(map[uint32]bool)
		for {
			f, err := e.fr.ReadFrame()
			if err != nil {
				if !closedByPeer(err) {
					t.Fatalf("reading what is answered: %v", err)
				}
				return
			}
			h := f.Header()
			switch f.(type) {
			case *http2.HeadersFrame, *http2.DataFrame:
				if done[h.StreamID] {
					t.Fatalf("%v behind the end of its stream", h)
				}
				done[h.StreamID] = h.Flags.Has(http2.FlagDataEndStream)
			}
		}
	})
}

// closedByPeer reports whether err is an end that a server may make.
func closedByPeer(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.As(err, &op) && !errors.Is(err, os.ErrDeadlineExceeded)
}
