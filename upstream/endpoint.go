package upstream

import (
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Endpoint is one address of a target.
type Endpoint struct {
	Addr   netip.AddrPort
	Target Target

	weight   float64 // its part of the target's weight, more than 0
	balancer *Balancer
	plain    atomic.Pointer[Pool] // the one last used; closed when it was long ago
	name     string               // the host name that it has: the target's, or the SRV record's
	host     [2]string            // the Host field for http and https

	// What outlives the endpoint. nil: nothing of the balancer asks for it, and
	// neither picks nor reports touch any counter.
	load   *load
	health *health
}

// endpoint returns the endpoint of a target at a record that merge has returned.
func (b *Balancer) endpoint(t Target, r Record, weight float64, now int64) *Endpoint {
	port := r.Port
	name := t.Host
	if b.spec.UseSRVName && r.Name != "" {
		name = strings.TrimSuffix(r.Name, ".")
	}
	bracketed := name
	if strings.Contains(name, ":") {
		bracketed = "[" + name + "]"
	}
	withPort := bracketed + ":" + strconv.Itoa(int(port))
	addr := netip.AddrPortFrom(r.Addr, port)
	e := &Endpoint{
		Addr: addr, Target: t, weight: weight, balancer: b,
		name: name, host: [2]string{withPort, withPort},
	}
	e.plain.Store(b.set.pool(addr, nil, ""))
	switch port {
	case 80:
		e.host[0] = bracketed
	case 443:
		e.host[1] = bracketed
	}
	key := stateKey{t.String(), addr}
	if b.loaded() {
		e.load = b.loads.get(key, now)
	}
	if b.spec.Checks.On {
		e.health = b.healths.get(key, now)
	}
	return e
}

// Pool returns the endpoint's pool for an identity, which is nil for
// plaintext. serverName is the SNI; "" means the endpoint's name.
func (e *Endpoint) Pool(id *Identity, serverName string) *Pool {
	if id == nil {
		p := e.plain.Load()
		if p.closed.Load() {
			p = e.balancer.set.pool(e.Addr, nil, "")
			e.plain.Store(p)
		}
		return p
	}
	if serverName == "" {
		serverName = e.name
	}
	return e.balancer.set.pool(e.Addr, id, serverName)
}

// Host returns the Host field for the endpoint: its name, with the port unless
// it is the scheme's own.
func (e *Endpoint) Host(https bool) string {
	if https {
		return e.host[1]
	}
	return e.host[0]
}

// Healthy reports whether no check has found the endpoint to be unhealthy.
func (e *Endpoint) Healthy() bool { return e.health == nil || e.health.healthy() }

// Watched reports whether Report does anything, so that the callers that have
// to look at the clock for it need not.
func (e *Endpoint) Watched() bool {
	return e.health != nil || e.balancer.spec.Algorithm == Latency
}

// Report takes in what a try has shown: once for each try, as soon as that is
// known. now is sock.Now.
func (e *Endpoint) Report(o Outcome, now int64) {
	if o.Kind == OutcomeNone {
		return
	}
	if e.balancer.spec.Algorithm == Latency {
		latency := o.Latency
		if o.Kind != OutcomeStatus && o.Kind != OutcomeOvertaken {
			latency = max(latency, failureLatency)
		}
		e.load.ewma.add(latency, now)
	}
	if e.health != nil && o.Kind != OutcomeOvertaken {
		e.judge(o, &e.balancer.spec.Checks.Passive, false, now)
	}
}

// End counts out a try that Pick has counted in. It is called once for every
// endpoint picked.
func (e *Endpoint) End() {
	if e.balancer.counts {
		e.load.open.Add(-1)
	}
}

// ReportProbe takes in what an active check has shown.
func (e *Endpoint) ReportProbe(o Outcome) {
	if e.health != nil {
		e.judge(o, &e.balancer.spec.Checks.Active, true, sock.Now())
	}
}

func (e *Endpoint) judge(o Outcome, rules *CheckRules, active bool, now int64) {
	if e.health.report(o, rules, active, now) {
		e.balancer.healths.changes.Add(1)
	}
}
