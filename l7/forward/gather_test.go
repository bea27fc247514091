package forward

import (
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
