package filelog

import (
	"io"

	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/l7"
	"github.com/bulwark-edge/bulwark/plugins"
)

var (
	_ l7.LogHook       = (*Plugin)(nil)
	_ l4.LogHook       = (*Plugin)(nil)
	_ plugins.Reopener = (*Plugin)(nil)
	_ io.Closer        = (*Plugin)(nil)
)

// Kind returns the kind.
func Kind() plugins.Kind {
	return plugins.Define(plugins.Spec[Config]{
		Name: "file-log", Scopes: plugins.Anywhere, Speaks: plugins.HTTP | plugins.Stream, New: New,
	})
}

// Plugin is an instance.
type Plugin struct {
	files  *files
	file   *file
	follow bool
}

// New opens the file, or shares it with who has it open.
func New(cfg Config, env plugins.Env) (any, error) {
	if env.Checking {
		return new(Plugin), nil
	}
	p := &Plugin{files: filesOf(env), follow: cfg.Reopen}
	var err error
	if p.file, err = p.files.use(cfg.Path); err != nil {
		return nil, err
	}
	if p.follow {
		p.file.Follow(true)
	}
	return p, nil
}

// Log hands the exchange's line to the file.
func (p *Plugin) Log(x *l7.Exchange) {
	if line := x.LogLine(); line != nil {
		p.file.Write(line)
	} else {
		p.files.count.Dropped.Inc()
	}
}

// LogSession hands the stream's entry to the file.
func (p *Plugin) LogSession(s *l4.Session) {
	b := buf.Get(buf.Medium)
	defer b.Put()
	p.file.Write(append(s.AppendLogEntry(b.B[:0]), '\n'))
}

// Reopen opens the path anew.
func (p *Plugin) Reopen() error { return p.file.Reopen() }

// Close leaves the file to its other users.
func (p *Plugin) Close() error {
	if p.file == nil {
		return nil
	}
	if p.follow {
		p.file.Follow(false)
	}
	return p.files.leave(p.file.Target())
}
