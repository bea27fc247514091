package telemetry

import (
	"cmp"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// maxStatusAddresses bounds the addresses in one answer of the status listener,
// and maxTargetSeries those in one answer to /metrics, where each has a series
// for every state. What is left out is counted.
const (
	maxStatusAddresses = 1000
	maxTargetSeries    = 2500
)

// Health is the state of a target or of one of its addresses.
type Health uint8

// The states, by Kong's names.
const (
	Healthy   Health = iota // gets traffic
	Unhealthy               // gets none
	ChecksOff               // gets traffic; no check runs for its upstream
	DNSError                // its name has no address
)

// healthNames are Kong's words for the states, healthLabels those of the
// metric's label.
var (
	healthNames  = [...]string{Healthy: "HEALTHY", Unhealthy: "UNHEALTHY", ChecksOff: "HEALTHCHECKS_OFF", DNSError: "DNS_ERROR"}
	healthLabels = [...]string{Healthy: "healthy", Unhealthy: "unhealthy", ChecksOff: "healthchecks_off", DNSError: "dns_error"}
)

// String returns Kong's name of the state.
func (h Health) String() string { return healthNames[h] }

// MarshalText writes Kong's name of the state.
func (h Health) MarshalText() ([]byte, error) { return []byte(healthNames[h]), nil }

// UpstreamStatus is one look at an upstream.
type UpstreamStatus struct {
	ID        string
	Name      string
	Algorithm string
	Health    Health // Unhealthy: it answers no request at all
	Used      UpstreamUse
	Targets   []TargetStatus
}

// UpstreamUse tells what services use an upstream.
type UpstreamUse struct {
	Requests bool
	Streams  bool
}

// TargetStatus is one look at a target.
type TargetStatus struct {
	ID        string
	Host      string
	Port      uint16
	Weight    int
	Health    Health // Healthy if one address is
	Error     string // why its name has no address
	DNS       string // the type of the records its addresses are from; "unknown" without
	Addresses []AddressStatus
}

// AddressStatus is one look at an address of a target.
type AddressStatus struct {
	Address netip.AddrPort
	Weight  float64 // its part of the target's
	Health  Health
	Open    int64     // tries under way; -1: they are not counted
	Since   time.Time // when its health changed last; zero: it never did
	Reason  string    // why
}

// upstreamsBody is what /status tells of the upstreams.
type upstreamsBody struct {
	List    []upstreamBody `json:"list"`
	Omitted int            `json:"omitted"` // addresses that are not shown
}

type upstreamBody struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Algorithm string       `json:"algorithm"`
	Health    Health       `json:"health"`
	Targets   []targetBody `json:"targets"`
}

type targetBody struct {
	Target    string        `json:"target"`
	Weight    int           `json:"weight"`
	Health    Health        `json:"health"`
	Error     string        `json:"error,omitempty"`
	Addresses []addressBody `json:"addresses"`
}

type addressBody struct {
	Address netip.AddrPort `json:"address"`
	Weight  float64        `json:"weight"`
	Health  Health         `json:"health"`
	Open    *int64         `json:"open"` // null: not counted
	Since   *time.Time     `json:"since"`
	Reason  string         `json:"last_reason,omitempty"`
}

// describeUpstreams shows upstreams until their addresses exceed the bound. A
// target without one counts like an address.
func describeUpstreams(all []UpstreamStatus) upstreamsBody {
	b := upstreamsBody{List: []upstreamBody{}}
	left := maxStatusAddresses
	for i := range all {
		u := &all[i]
		if left <= 0 {
			for j := range u.Targets {
				b.Omitted += max(1, len(u.Targets[j].Addresses))
			}
			continue
		}
		left-- // for the upstream itself
		ub := upstreamBody{ID: u.ID, Name: u.Name, Algorithm: u.Algorithm, Health: u.Health, Targets: []targetBody{}}
		for j := range u.Targets {
			t := &u.Targets[j]
			if left <= 0 {
				b.Omitted += max(1, len(t.Addresses))
				continue
			}
			shown := t.Addresses[:min(left, len(t.Addresses))]
			left -= max(1, len(shown))
			b.Omitted += len(t.Addresses) - len(shown)
			ub.Targets = append(ub.Targets, describeTarget(t, shown))
		}
		b.List = append(b.List, ub)
	}
	return b
}

func describeTarget(t *TargetStatus, shown []AddressStatus) targetBody {
	b := targetBody{Target: t.name(), Weight: t.Weight, Health: t.Health, Error: t.Error, Addresses: []addressBody{}}
	for _, a := range shown {
		ab := addressBody{Address: a.Address, Weight: a.Weight, Health: a.Health, Since: known(a.Since), Reason: a.Reason}
		if a.Open >= 0 {
			ab.Open = &a.Open
		}
		b.Addresses = append(b.Addresses, ab)
	}
	return b
}

// name returns the target as it is configured.
func (t *TargetStatus) name() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

// healthBody is the answer to GET /upstreams/{name}/health, in Kong's shape.
type healthBody struct {
	Data    []healthTarget `json:"data"`
	Next    *string        `json:"next"`
	NodeID  string         `json:"node_id"`
	Omitted int            `json:"omitted,omitempty"` // targets that are not shown
}

type healthTarget struct {
	ID       string            `json:"id"`
	Upstream map[string]string `json:"upstream"`
	Target   string            `json:"target"`
	Weight   int               `json:"weight"`
	Health   Health            `json:"health"`
	Data     healthData        `json:"data"`
}

type healthData struct {
	Host      string          `json:"host"`
	Port      uint16          `json:"port"`
	DNS       string          `json:"dns"`
	Weight    int             `json:"nodeWeight"`
	Sum       healthWeight    `json:"weight"`
	Addresses []healthAddress `json:"addresses"`
}

type healthWeight struct {
	Total       float64 `json:"total"`
	Available   float64 `json:"available"`
	Unavailable float64 `json:"unavailable"`
}

type healthAddress struct {
	IP     netip.Addr `json:"ip"`
	Port   uint16     `json:"port"`
	Weight float64    `json:"weight"`
	Health Health     `json:"health"`
}

// describeHealth shows the targets of an upstream until their addresses exceed
// the bound.
func describeHealth(u *UpstreamStatus, node string) healthBody {
	b := healthBody{Data: []healthTarget{}, NodeID: node}
	left := maxStatusAddresses
	for i := range u.Targets {
		t := &u.Targets[i]
		left -= max(1, len(t.Addresses))
		if left < 0 {
			b.Omitted = len(u.Targets) - i
			break
		}
		h := healthTarget{
			ID: t.ID, Upstream: map[string]string{"id": u.ID}, Target: t.name(), Weight: t.Weight, Health: t.Health,
			Data: healthData{Host: t.Host, Port: t.Port, DNS: t.source(), Weight: t.Weight, Sum: t.weights(), Addresses: []healthAddress{}},
		}
		for _, a := range t.Addresses {
			h.Data.Addresses = append(h.Data.Addresses, healthAddress{a.Address.Addr(), a.Address.Port(), a.Weight, a.Health})
		}
		b.Data = append(b.Data, h)
	}
	return b
}

// source returns what Kong tells of a target's name: the type of its records, or
// why there are none.
func (t *TargetStatus) source() string {
	return cmp.Or(t.Error, t.DNS, "unknown")
}

// weights sums the weights of all addresses.
func (t *TargetStatus) weights() healthWeight {
	var w healthWeight
	for _, a := range t.Addresses {
		w.add(a.Weight, a.Health != Unhealthy)
	}
	return w
}

func (w *healthWeight) add(weight float64, available bool) {
	w.Total += weight
	if available {
		w.Available += weight
	} else {
		w.Unavailable += weight
	}
}

// balancerBody is the answer with balancer_health=1.
type balancerBody struct {
	Data   balancerData `json:"data"`
	Next   *string      `json:"next"`
	NodeID string       `json:"node_id"`
}

type balancerData struct {
	ID       string          `json:"id"`
	Health   Health          `json:"health"`
	Balancer Health          `json:"balancer_health"`
	Details  balancerDetails `json:"details"`
	Omitted  int             `json:"omitted,omitempty"` // hosts that are not shown
}

type balancerDetails struct {
	Healthy bool           `json:"healthy"`
	Weight  healthWeight   `json:"weight"`
	Hosts   []balancerHost `json:"hosts"`
}

type balancerHost struct {
	Host      string            `json:"host"`
	Port      uint16            `json:"port"`
	DNS       string            `json:"dns"`
	Weight    int               `json:"nodeWeight"`
	Sum       healthWeight      `json:"weight"`
	Addresses []balancerAddress `json:"addresses"`
}

type balancerAddress struct {
	IP      netip.Addr `json:"ip"`
	Port    uint16     `json:"port"`
	Weight  float64    `json:"weight"`
	Healthy bool       `json:"healthy"`
}

// describeBalancer shows an upstream as a whole, with its targets until their
// addresses exceed the bound.
func describeBalancer(u *UpstreamStatus, node string) balancerBody {
	d := balancerDetails{Healthy: u.Health != Unhealthy, Hosts: []balancerHost{}}
	b := balancerBody{NodeID: node, Data: balancerData{ID: u.ID, Health: u.Health, Balancer: u.Health}}
	left := maxStatusAddresses
	for i := range u.Targets {
		t := &u.Targets[i]
		sum := t.weights()
		d.Weight.add(sum.Available, true)
		d.Weight.add(sum.Unavailable, false)
		if left -= max(1, len(t.Addresses)); left < 0 {
			b.Data.Omitted++
			continue
		}
		h := balancerHost{Host: t.Host, Port: t.Port, DNS: t.source(), Weight: t.Weight, Sum: sum, Addresses: []balancerAddress{}}
		for _, a := range t.Addresses {
			h.Addresses = append(h.Addresses, balancerAddress{a.Address.Addr(), a.Address.Port(), a.Weight, a.Health != Unhealthy})
		}
		d.Hosts = append(d.Hosts, h)
	}
	b.Data.Details = d
	return b
}

// serveHealth answers GET /upstreams/{name}/health; an id does as well. With
// balancer_health=1 it tells of the upstream as a whole.
func serveHealth(src StatusSource) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		key := r.PathValue("upstream")
		all := src.Upstreams()
		for i := range all {
			if all[i].Name == key || all[i].ID == key {
				node := src.Status().NodeID
				if r.URL.Query().Get("balancer_health") == "1" {
					writeJSON(w, http.StatusOK, describeBalancer(&all[i], node))
				} else {
					writeJSON(w, http.StatusOK, describeHealth(&all[i], node))
				}
				return
			}
		}
		writeJSON(w, http.StatusNotFound, messageBody{"Not found"})
	}
}
