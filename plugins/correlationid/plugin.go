package correlationid

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.RequestHook  = (*Plugin)(nil)
	_ l7.ResponseHook = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "correlation-id", Scopes: plugins.Anywhere | plugins.Listener, Speaks: plugins.HTTP, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	header string
	echo   bool
	make   func(x *l7.Exchange) string
	id     l7.Slot[string]
}

// New chooses the generator.
func New(cfg Config, _ plugins.Env) (any, error) {
	p := &Plugin{header: cfg.HeaderName, echo: cfg.EchoDownstream}
	switch cfg.Generator {
	case "uuid":
		p.make = func(*l7.Exchange) string { return uuid.NewString() }
	case "tracker":
		p.make = newTracker()
	default:
		p.make = newCounter()
	}
	return p, nil
}

// Request keeps the id that came with the request, or makes one.
func (p *Plugin) Request(x *l7.Exchange) l7.Verdict {
	id, ok := x.Req.Header.Get(p.header)
	switch {
	case !ok || id == "":
		id = p.make(x)
		x.UpstreamHeader().Set(p.header, id)
	case x.Nominated(&l7.Field{Name: p.header}):
		// A client must not hide the id by naming it in Connection.
		x.UpstreamHeader().Set(p.header, id)
	}
	if p.echo {
		p.id.Set(x, id)
	}
	x.AddLogValue("correlation_id", id)
	return l7.Next
}

// Response tells the client the id.
func (p *Plugin) Response(x *l7.Exchange) l7.Verdict {
	if p.echo {
		if id := p.id.Get(x); id != "" {
			x.Resp.Header.Set(p.header, id)
		}
	}
	return l7.Next
}

// newCounter returns a generator of an id of the instance and a counter.
func newCounter() func(*l7.Exchange) string {
	prefix := uuid.NewString() + "#"
	var n atomic.Uint64
	return func(*l7.Exchange) string {
		var room [64]byte // an uuid, "#" and 20 digits
		return string(strconv.AppendUint(append(room[:0], prefix...), n.Add(1), 10))
	}
}

// newTracker returns a generator of Kong's ip-port-pid-connection-requests-time.
func newTracker() func(*l7.Exchange) string {
	pid := os.Getpid()
	var n atomic.Uint64
	return func(x *l7.Exchange) string {
		now := time.Now()
		return fmt.Sprintf("%s-%d-%d-%d-1-%d.%03d", x.Conn.Local.Addr(), x.Conn.Local.Port(), pid, n.Add(1), now.Unix(), now.Nanosecond()/int(time.Millisecond))
	}
}
