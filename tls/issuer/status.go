package issuer

import (
	"cmp"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bulwark-edge/bulwark/telemetry"
)

// Status is what is known of a name.
type Status struct {
	Name    string
	State   State
	CA      string           // directory of the authority that issued what is held; empty: nothing is held
	Until   time.Time        // when that ends
	Held    *tls.Certificate // what is held, with its Leaf; nil: nothing
	Renew   time.Time        // when it is looked at next
	Error   string           // of the last try; empty after one that went well
	ErrorAt time.Time
}

// Status tells of all names, in their order.
func (i *Issuer) Status() []Status {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]Status, 0, len(i.subjects))
	for _, s := range i.subjects {
		st := Status{Name: s.name, State: s.state, Renew: s.next, Error: s.err, ErrorAt: s.errAt}
		if st.State == "" {
			st.State = Waiting
		}
		if h := s.held.Load(); h != nil {
			st.CA, st.Until, st.Held = h.Directory, h.leaf.NotAfter, &h.pair
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// maxCASeries bounds the values of the label "ca"; further ones are "other".
const maxCASeries = 32

// Counts are what an issuer counts. The zero value is ready.
type Counts struct {
	Panics telemetry.Counter

	mu  sync.Mutex
	cas map[string]*[2]uint64 // orders that went well, and that did not
}

func (c *Counts) order(ca string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.cas[ca]
	if n == nil {
		if len(c.cas) >= maxCASeries {
			ca = "other"
		}
		if c.cas == nil {
			c.cas = make(map[string]*[2]uint64)
		}
		if n = c.cas[ca]; n == nil {
			n = new([2]uint64)
			c.cas[ca] = n
		}
	}
	if ok {
		n[0]++
	} else {
		n[1]++
	}
}

var (
	descOrders = prometheus.NewDesc("bulwark_acme_orders_total", "Orders of certificates.", []string{"ca", "result"}, nil)
	descNames  = prometheus.NewDesc("bulwark_acme_name_entries", "Names that certificates are ordered for, by what is going on about them.", []string{"state"}, nil)
	descUntil  = prometheus.NewDesc("bulwark_acme_earliest_expiry_timestamp_seconds", "When the first of the certificates ends that are held.", nil, nil)
	descPanics = prometheus.NewDesc("bulwark_acme_panics_total", "Panics recovered in orders.", nil, nil)
)

var _ prometheus.Collector = (*Issuer)(nil)

// Describe sends nothing: what there is changes while the process runs.
func (*Issuer) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present values, nothing while there are no terms.
func (i *Issuer) Collect(ch chan<- prometheus.Metric) {
	if set := i.set.Load(); set == nil || len(set.terms) == 0 {
		return
	}
	states := map[State]int{Waiting: 0, Ordering: 0, Valid: 0, Failing: 0}
	var end time.Time
	for _, s := range i.Status() {
		states[s.State]++
		if !s.Until.IsZero() {
			end = first(end, s.Until)
		}
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(descNames, prometheus.GaugeValue, float64(n), string(state))
	}
	if !end.IsZero() {
		ch <- prometheus.MustNewConstMetric(descUntil, prometheus.GaugeValue, float64(end.Unix()))
	}
	ch <- prometheus.MustNewConstMetric(descPanics, prometheus.CounterValue, float64(i.Counts.Panics.Load()))
	i.Counts.mu.Lock()
	defer i.Counts.mu.Unlock()
	for ca, n := range i.Counts.cas {
		ch <- prometheus.MustNewConstMetric(descOrders, prometheus.CounterValue, float64(n[0]), ca, "ok")
		ch <- prometheus.MustNewConstMetric(descOrders, prometheus.CounterValue, float64(n[1]), ca, "failed")
	}
}
