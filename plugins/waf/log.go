package waf

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/buf"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/telemetry"
	engine "github.com/bulwark-edge/bulwark/waf"
)

const (
	// logMode lets the owner write and the group read: events tell of requests
	// what the access log does.
	logMode = 0o640

	// auditMode is that of the audit log, which has the requests themselves.
	auditMode = 0o600

	// logCloseTime bounds the last writes to a log that no instance uses any more.
	logCloseTime = 5 * time.Second
)

// logs are the open logs of a process, by target. Safe for concurrent use.
type logs struct {
	log   *slog.Logger
	count *telemetry.LineCounters

	mu   sync.Mutex
	open map[string]*telemetryLog
}

// telemetryLog is a log of ours, which instances share.
type telemetryLog struct {
	*telemetry.LineLog
	users int // guarded by the logs' mu
}

// eventLog is where an instance's events go. On nil they go nowhere.
type eventLog struct {
	line   *telemetry.LineLog
	own    bool // else it is the access log
	format string
}

// use opens the log of the node's settings, or shares it; nil if it is off. Where
// the access log has the same target events go to that, so that lines stay whole.
func (l *logs) use(env plugins.Env) (*eventLog, error) {
	node := &env.Config.Node.Log
	switch {
	case node.WAF == config.LogOff:
		return nil, nil
	case env.Access != nil && env.Access.Target() == node.WAF:
		return &eventLog{line: env.Access, format: node.WAFFormat}, nil
	}
	return l.share(telemetry.LineTarget{
		Path: node.WAF, What: "log of the WAF", Mode: logMode, Stdout: node.WAF == config.LogStdout,
		Hint: `node.log.waf is "stdout", "off" or a path that the process may write`,
	}, node.WAFFormat)
}

// useAudit is use for the audit log.
func (l *logs) useAudit(env plugins.Env) (*eventLog, error) {
	node := &env.Config.Node.Log
	switch {
	case node.WAFAudit == config.LogOff:
		return nil, nil
	case env.Access != nil && env.Access.Target() == node.WAFAudit:
		return &eventLog{line: env.Access}, nil
	}
	return l.share(telemetry.LineTarget{
		Path: node.WAFAudit, What: "audit log of the WAF", Mode: auditMode, Stdout: node.WAFAudit == config.LogStdout,
		Hint: `node.log.waf_audit is "off", "stdout" or a path that the process may write`,
	}, "")
}

// share opens a log, or shares the one that is open.
func (l *logs) share(target telemetry.LineTarget, format string) (*eventLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	shared := l.open[target.Path]
	if shared == nil {
		line, err := telemetry.OpenLines(target, l.count, l.log)
		if err != nil {
			return nil, err
		}
		shared = &telemetryLog{LineLog: line}
		l.open[target.Path] = shared
	}
	shared.users++
	return &eventLog{line: shared.LineLog, own: true, format: format}, nil
}

// leave ends one use, and the last one closes the log.
func (l *logs) leave(e *eventLog) error {
	if e == nil || !e.own {
		return nil
	}
	l.mu.Lock()
	shared := l.open[e.line.Target()]
	if shared.users--; shared.users > 0 {
		l.mu.Unlock()
		return nil
	}
	delete(l.open, e.line.Target())
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), logCloseTime)
	defer cancel()
	return shared.Close(ctx)
}

// serves reports whether the settings of the node still lead to this log.
func (e *eventLog) serves(env plugins.Env) bool {
	node := &env.Config.Node.Log
	return e.leadsTo(env, node.WAF) && (e == nil || e.format == node.WAFFormat)
}

// leadsTo reports whether this is the log of a target.
func (e *eventLog) leadsTo(env plugins.Env, target string) bool {
	if e == nil {
		return target == config.LogOff
	}
	shared := env.Access != nil && env.Access.Target() == target
	return e.line.Target() == target && e.own != shared && (e.own || e.line == env.Access)
}

// reopen opens the file anew. The access log is reopened by the edge.
func (e *eventLog) reopen() error {
	if e == nil || !e.own {
		return nil
	}
	return e.line.Reopen()
}

// write hands an event to the log, which never waits.
func (e *eventLog) write(event *engine.Event) {
	b := buf.Get(buf.Medium)
	defer b.Put()
	if e.format == config.WAFModSecurity {
		e.line.Write(event.AppendModSecurity(b.B[:0]))
		return
	}
	e.line.Write(append(event.AppendJSON(b.B[:0]), '\n'))
}
