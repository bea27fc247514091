package h2

import (
	"golang.org/x/net/http2"

	"github.com/bulwark-edge/bulwark/internal/sock"
	"github.com/bulwark-edge/bulwark/l7"
)

// glitch is something that a client may do, or may do by mistake, but that
// costs us more than the client when it is done often.
type glitch uint8

const (
	glitchReset    glitch = iota // RST_STREAM of a stream that is served, or waits to be (CVE-2023-44487)
	glitchStream                 // what made us reset a stream (CVE-2025-8671)
	glitchRefused                // a stream above the bound
	glitchPing                   // PING beyond a few for each stream and frame of content, and any answer to one
	glitchSettings               // SETTINGS, but for the first one
	glitchPriority               // PRIORITY and PRIORITY_UPDATE beyond a few for each stream
	glitchWindow                 // WINDOW_UPDATE beyond a few for each frame that was sent
	glitchEmpty                  // DATA, HEADERS or CONTINUATION with nothing in it
	glitchPieces                 // CONTINUATION (CVE-2024-27316 and its like)
	glitchUnknown                // frames of a type that is not known
	glitchStall                  // an answer that the client did not let us send for write_timeout
	glitchHead                   // a head above the bounds

	glitchCount
)

var glitchNames = [glitchCount]string{
	glitchReset:    "reset",
	glitchStream:   "stream_error",
	glitchRefused:  "refused_stream",
	glitchPing:     "ping",
	glitchSettings: "settings",
	glitchPriority: "priority",
	glitchWindow:   "window_update",
	glitchEmpty:    "empty_frame",
	glitchPieces:   "continuation",
	glitchUnknown:  "unknown_frame",
	glitchStall:    "stall",
	glitchHead:     "head_too_large",
}

// GlitchNames returns the label values of telemetry.Metrics.HTTP2Glitches.
func GlitchNames() []string { return glitchNames[:] }

const (
	// forgiven is the part of the budget that is forgiven in a second: a tenth.
	forgiven = 10
	// frameCreditBase, frameCreditStream and frameCreditData are how many
	// PING, PRIORITY, PRIORITY_UPDATE and WINDOW_UPDATE frames, and heads that are
	// dropped, a connection, a stream and a frame of content may bring without a
	// glitch.
	frameCreditBase   = 64
	frameCreditStream = 4
	frameCreditData   = 2
	// creditBytes is how large a frame of content is at least that was cut off by
	// the client's windows, to count as one.
	creditBytes = 1 << 10
	// frameCreditMost bounds what of it is saved up.
	frameCreditMost = 4096
)

// glitches is the budget of a connection. The reader owns it.
type glitches struct {
	left, most int
	at         int64 // sock.Now up to which something was forgiven
}

func (g *glitches) begin(most int, now int64) { *g = glitches{left: most, most: most, at: now} }

// take takes one off the budget, and reports false if there is none left.
func (g *glitches) take(now int64) bool {
	if g.left < g.most {
		const second = 1e9
		each := int64(second * forgiven / g.most)
		if n := (now - g.at) / max(each, 1); n > 0 {
			g.left = int(min(int64(g.left)+n, int64(g.most)))
			g.at += n * max(each, 1)
		}
	} else {
		g.at = now
	}
	g.left--
	return g.left >= 0
}

// glitch counts one, and ends the connection when there were too many. c.mu is
// held.
func (c *conn) glitch(kind glitch) {
	c.server.Metrics.HTTP2Glitches.Inc(int(kind))
	if c.err != nil || c.glitches.take(sock.Now()) {
		return
	}
	c.server.Metrics.Terminations.Inc(int(l7.ReasonHTTP2Flood))
	if c.server.Flooded != nil {
		c.server.Flooded(c.Client.Addr())
	}
	c.end(http2.ErrCodeEnhanceYourCalm, "too many glitches, the last one: "+glitchNames[kind])
}

// spend takes one off the credit for frames that a client may send a few of.
// c.mu is held.
func (c *conn) spend(kind glitch) {
	if c.frameCredit--; c.frameCredit < 0 {
		c.frameCredit = 0
		c.glitch(kind)
	}
}

// earnData earns credit for a frame with n bytes of content. A small one that is
// not all there was to send counts by its bytes, so that a client that opens its
// windows by single bytes (CVE-2019-9511) does not earn what it spends. c.mu is
// held.
func (c *conn) earnData(n int, whole bool) {
	if whole || n >= creditBytes {
		c.earn(frameCreditData)
		return
	}
	c.sent += n
	c.earn(c.sent / creditBytes * frameCreditData)
	c.sent %= creditBytes
}

func (c *conn) earn(n int) { c.frameCredit = min(c.frameCredit+n, frameCreditMost) }
