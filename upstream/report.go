package upstream

import (
	"net/netip"
	"slices"
	"time"

	"github.com/bulwark-edge/bulwark/internal/sock"
)

// Health is a state in Kong's words.
type Health string

// The states.
const (
	HealthHealthy   Health = "HEALTHY"
	HealthUnhealthy Health = "UNHEALTHY"
	HealthOff       Health = "HEALTHCHECKS_OFF"
	HealthDNSError  Health = "DNS_ERROR"
)

// BalancerHealth is one look at a balancer.
type BalancerHealth struct {
	Algorithm Algorithm
	State     Health // HealthUnhealthy: nothing is sent to it
	Targets   []TargetHealth
}

// TargetHealth is one look at a target.
type TargetHealth struct {
	Target    Target
	State     Health // HealthHealthy if any address is
	Why       string // of HealthDNSError
	Source    string // the type of the records its addresses are from: SRV, A or AAAA; "" without
	Addresses []AddressHealth
}

// AddressHealth is one look at an endpoint.
type AddressHealth struct {
	Addr   netip.AddrPort
	Weight float64 // its part of the target's
	State  Health
	Since  time.Time // when a check last changed its state; zero: none did
	Why    string    // what did
	Open   int64     // tries under way; -1: they are not counted
}

// Health tells how the endpoints are. It does not wait.
func (b *Balancer) Health() BalancerHealth {
	w := b.wheel.Load()
	if w == nil {
		w = new(wheel)
	}
	h := BalancerHealth{Algorithm: b.spec.Algorithm, State: b.stateOf(w)}
	byTarget := make(map[Target][]AddressHealth)
	for _, e := range w.endpoints {
		byTarget[e.Target] = append(byTarget[e.Target], e.look())
	}
	for _, t := range b.targets {
		h.Targets = append(h.Targets, b.lookAt(t, byTarget[t], w))
	}
	return h
}

func (b *Balancer) stateOf(w *wheel) Health {
	switch {
	case !b.spec.Checks.On:
		return HealthOff
	case len(w.endpoints) == 0 || w.down(b.spec.Checks.Threshold, b.healths.changes.Load()):
		return HealthUnhealthy
	}
	return HealthHealthy
}

func (b *Balancer) lookAt(t Target, addresses []AddressHealth, w *wheel) TargetHealth {
	h := TargetHealth{Target: t, Addresses: addresses, State: HealthUnhealthy}
	addr, err := netip.ParseAddr(t.Host)
	if err == nil {
		h.Source = source([]Record{{Addr: addr}})
	} else if list := w.records[t.Host]; len(list) > 0 {
		h.Source = source(list)
	}
	switch {
	case len(addresses) == 0 && err != nil && t.Weight > 0 && b.wheel.Load() != nil && !w.adopted: // names have been looked up
		h.State, h.Why = HealthDNSError, ErrName.Error()
		if w.err != nil {
			h.Why = w.err.Error()
		}
	case !b.spec.Checks.On || len(addresses) == 0:
		h.State = HealthOff
	}
	for _, a := range addresses {
		if a.State == HealthHealthy {
			h.State = HealthHealthy
		}
	}
	return h
}

func (e *Endpoint) look() AddressHealth {
	a := AddressHealth{Addr: e.Addr, Weight: e.weight, State: HealthOff, Open: -1}
	if e.balancer.counts {
		a.Open = e.load.open.Load()
	}
	if e.health == nil {
		return a
	}
	a.State = HealthHealthy
	if !e.health.healthy() {
		a.State = HealthUnhealthy
	}
	since, why := e.health.last()
	if since != 0 {
		a.Since, a.Why = sock.Time(since), why
	}
	return a
}

// source returns the type of DNS records that tell as much as list does, which is
// not empty.
func source(list []Record) string {
	switch {
	case slices.ContainsFunc(list, func(r Record) bool { return r.Port != 0 || r.Name != "" }):
		return "SRV"
	case list[0].Addr.Unmap().Is4():
		return "A"
	}
	return "AAAA"
}
