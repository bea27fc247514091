package waf

import (
	"slices"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
	engine "github.com/bulwark-edge/bulwark/waf"
)

// maxAuditHeld bounds the content that all exchanges together keep for the audit
// log, in bytes; that of others is left out of their records.
const maxAuditHeld = 32 << 20

// auditor writes the audit log of an instance. On nil it does nothing.
type auditor struct {
	log      *eventLog
	settings engine.AuditSettings
	node     config.Log // that it was made for
	all      bool       // exchanges that nothing matched in, too
	held     *atomic.Int64
}

// newAuditor opens the audit log; nil if it is off.
func newAuditor(s *shared, env plugins.Env, versions []string) (*auditor, error) {
	log, err := s.logs.useAudit(env)
	if log == nil || err != nil {
		return nil, err
	}
	node := &env.Config.Node.Log
	has := func(part string) bool { return slices.Contains(node.WAFAuditParts, part) }
	return &auditor{
		log: log, node: *node, all: node.WAFAuditEngine == config.WAFAuditOn, held: &s.auditHeld,
		settings: engine.AuditSettings{
			RequestFields: has("B"), RequestBody: has("C"), ResponseFields: has("F"), Trailer: has("H"), Matches: has("K"),
			KeepSecrets: node.WAFAuditSecrets == config.WAFAuditKeepSecrets, Product: "Bulwark", Rulesets: versions,
		},
	}, nil
}

// serves reports whether the settings of the node still are those of this log.
func (a *auditor) serves(env plugins.Env) bool {
	node := &env.Config.Node.Log
	if a == nil {
		return node.WAFAudit == config.LogOff
	}
	return a.log.leadsTo(env, node.WAFAudit) && a.node.WAFAuditEngine == node.WAFAuditEngine &&
		a.node.WAFAuditSecrets == node.WAFAuditSecrets && slices.Equal(a.node.WAFAuditParts, node.WAFAuditParts)
}

// begin lets an inspection make a record.
func (a *auditor) begin(ins *engine.Inspection) {
	if a == nil {
		return
	}
	ins.Audit(&a.settings)
	if a.all {
		ins.TellAlways()
	}
}

// keep keeps content of a request, as it was sent, if there will be a record of it
// by what is known now.
func (a *auditor) keep(i *inspected, content []byte, whole bool) {
	if a == nil || !a.settings.RequestBody || !i.ins.Tells() {
		return
	}
	n := int64(min(len(content), engine.MaxAuditBody))
	if a.held.Add(n) > maxAuditHeld {
		a.held.Add(-n)
		i.ins.AuditBody(nil, len(content) == 0)
		return
	}
	i.audited = n
	i.ins.AuditBody(slices.Clone(content[:n]), whole && n == int64(len(content)))
}

// end gives back what was kept.
func (a *auditor) end(i *inspected) {
	if a != nil {
		a.held.Add(-i.audited)
		i.audited = 0
	}
}

// write hands the record of an event to the log, which never waits.
func (a *auditor) write(e *engine.Event) {
	if a != nil && e.Record != nil {
		a.log.line.Write(append(e.Record.AppendJSON(nil), '\n'))
	}
}

// logOf returns the log, nil if there is none.
func (a *auditor) logOf() *eventLog {
	if a == nil {
		return nil
	}
	return a.log
}
