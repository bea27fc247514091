package h2

import (
	"testing"

	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/l7"
)

// TestFramesAfterReset shows that frames on a stream that the client has reset
// are refused, while it is served still and after that, and counted.
func TestFramesAfterReset(t *testing.T) {
	begun, hold := make(chan struct{}), make(chan struct{})
	e := start(t, func(x *l7.Exchange) {
		close(begun)
		<-hold
		answer(x, 200, "")
	}, nil)
	e.headers(1, false, request("POST", "/")...)
	<-begun
	e.check(e.fr.WriteRSTStream(1, http2.ErrCodeCancel))
	e.check(e.fr.WriteData(1, false, []byte("x")))
	e.want("RST_STREAM 1 STREAM_CLOSED")
	e.check(e.fr.WriteWindowUpdate(1, 1))
	e.want("RST_STREAM 1 STREAM_CLOSED")
	if n := e.glitches(glitchStream); n != 2 {
		t.Errorf("%d glitches, want 2", n)
	}
	close(hold)
	e.alive()
}

// TestSettingsInOneFrame shows that the last of several values counts, and that
// many in a frame are too many.
func TestSettingsInOneFrame(t *testing.T) {
	window := func(n uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
	}
	e := start(t, serveBytes, nil, window(1), window(1<<31-1), window(2))
	e.headers(1, true, get("/3")...)
	e.want("HEADERS 1 :status=200 content-length=3", `DATA 1 "\x00\x00"`)
	many := make([]http2.Setting, mostSettings)
	for i := range many {
		many[i] = window(2)
	}
	e.check(e.fr.WriteSettings(many...))
	e.want("SETTINGS ACK")
	e.check(e.fr.WriteSettings(append(many, window(2))...))
	e.want("GOAWAY 1 ENHANCE_YOUR_CALM")
}
