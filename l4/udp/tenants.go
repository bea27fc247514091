package udp

import "sync"

// tenants count the flows that each client address has. One table serves all
// loops of a listener, because the kernel spreads a client's flows over them; it
// is asked when a flow begins, ends or moves only. It has no more entries than
// there are flows.
type tenants struct {
	mu  sync.Mutex
	all map[tenantKey]*tenant
}

// tenantKey is an address of IPv4, or the /64 of one of IPv6, all addresses of
// which are one client's as for connections (l4.ClientOf).
type tenantKey struct {
	addr  [16]byte
	scope uint32
}

func tenantOf(k *key) tenantKey {
	tk := tenantKey{k.client, k.scope}
	if mapped := [12]byte{10: 0xff, 11: 0xff}; [12]byte(k.client[:]) != mapped {
		clear(tk.addr[8:])
	}
	return tk
}

// tenant is a client address with a flow.
type tenant struct {
	key   tenantKey
	flows int
}

// enter counts a new flow, unless its client has the most that it may have; 0:
// any number, which is not counted, by a tenant that is nil.
func (t *tenants) enter(k tenantKey, most int) (_ *tenant, ok bool) {
	if most <= 0 {
		return nil, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.all[k]; c != nil && c.flows >= most {
		return nil, false
	}
	return t.add(k), true
}

func (t *tenants) add(k tenantKey) *tenant {
	c := t.all[k]
	if c == nil {
		c = &tenant{key: k}
		t.all[k] = c
	}
	c.flows++
	return c
}

// leave counts the end of a flow.
func (t *tenants) leave(c *tenant) {
	if c == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.take(c)
}

// move counts a flow under another client, and returns that. A flow that goes on
// is not held against the bound again, which only its new ones are.
func (t *tenants) move(c *tenant, to tenantKey) *tenant {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.take(c)
	return t.add(to)
}

func (t *tenants) take(c *tenant) {
	if c.flows--; c.flows == 0 {
		delete(t.all, c.key)
	}
}
