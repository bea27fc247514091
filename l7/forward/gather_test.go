package forward

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/l7"
)

// flushing is a wire that tells of every flush what had been written.
type flushing struct {
	*wire
	flushed chan string
}

func (w *flushing) Flush() error {
	w.flushed <- w.content.String()
	return nil
}

type requestHook func(x *l7.Exchange)

func (h requestHook) Request(x *l7.Exchange) l7.Verdict {
	h(x)
	return l7.Next
}

// TestGathering shows that content is passed on while the upstream is silent,
// whether or not the route gathers it before.
func TestGathering(t *testing.T) {
	for name, gathers := range map[string]bool{"response_buffering": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			flushed := make(chan string, 16)
			f := newFixture(t, []any{requestHook(func(x *l7.Exchange) {
				x.Route.Entity.ResponseBuffering = gathers
				x.Wire = &flushing{x.Wire.(*wire), flushed}
			})}, newOrigin(t, func(_ int, c *client) {
				c.request()
				c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
				select {
				case content := <-flushed:
					if content != "one" {
						t.Errorf("the client had %q when the upstream was silent", content)
					}
				case <-time.After(patience):
					t.Error("the client got nothing while the upstream was silent")
				}
				c.say("3\r\ntwo\r\n0\r\n\r\n")
				c.request()
			}))
			f.want(f.do("GET", nil), `200 "onetwo"`)
		})
	}
}

// TestSentWhole shows that content which is all here is sent with its length,
// whatever its size, and no trailer that a plugin has dropped.
func TestSentWhole(t *testing.T) {
	var got atomic.Value
	f := newFixture(t, nil, newOrigin(t, func(_ int, c *client) {
		for r := c.request(); r != nil; r = c.request() {
			content, _ := io.ReadAll(r.Body)
			got.Store(fmt.Sprintf("%s %d of %d, trailer %q", r.Method, len(content), r.ContentLength, r.Trailer.Get("X-T")))
			c.say(ok)
		}
	}))
	for _, size := range []int{0, 1, gatherSize, gatherSize + 1, 1 << 20} {
		f.want(f.do("PUT", func(x *l7.Exchange) { x.SetBody(make([]byte, size)) }), `200 "ok"`)
		if want := fmt.Sprintf(`PUT %d of %d, trailer ""`, size, size); got.Load() != want {
			t.Errorf("the origin got %s, want %s", got.Load(), want)
		}
	}
	for _, drop := range []bool{false, true} {
		f.want(f.do("POST", func(x *l7.Exchange) {
			b := newBody("piece")
			b.trailer.Add("X-T", "t")
			close(b.pieces)
			x.Req.Body, x.Req.ContentLength = b, -1
			x.Upstream.NoTrailer = drop
		}), `200 "ok"`)
		want := `POST 5 of -1, trailer "t"`
		if drop {
			want = `POST 5 of -1, trailer ""`
		}
		if got.Load() != want {
			t.Errorf("the origin got %s, want %s", got.Load(), want)
		}
	}
}
