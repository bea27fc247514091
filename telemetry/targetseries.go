package telemetry

// TargetSeries are the labels of one series about the health of a target.
type TargetSeries struct {
	Upstream string
	Target   string // as it is configured
	Address  string // "" for a target that has none
	State    string // healthy, unhealthy, healthchecks_off or dns_error

	Used UpstreamUse // whose upstream it is, which is no label
}

// EachTarget calls send with the series of every address, or of a target that
// has none: 1 for the state that it is in, 0 for the others. At most 2500
// addresses are told; omitted counts those beyond. ok is false while no
// configuration serves.
func (m *Metrics) EachTarget(send func(t TargetSeries, v float64)) (omitted int, ok bool) {
	m.mu.Lock()
	list := m.upstreams
	m.mu.Unlock()
	if list == nil {
		return 0, false
	}
	sent := make(map[TargetSeries]bool) // one that is sent twice spoils the whole scrape
	tell := func(key TargetSeries, now Health) {
		switch {
		case sent[key]:
			return
		case len(sent) == maxTargetSeries:
			omitted++
			return
		}
		sent[key] = true
		for h, label := range healthLabels {
			v := 0.0
			if Health(h) == now {
				v = 1
			}
			key.State = label
			send(key, v)
		}
	}
	upstreams := list()
	for i := range upstreams {
		for j := range upstreams[i].Targets {
			t := &upstreams[i].Targets[j]
			for _, a := range t.Addresses {
				tell(TargetSeries{Upstream: upstreams[i].Name, Target: t.name(), Address: a.Address.String(), Used: upstreams[i].Used}, a.Health)
			}
			if len(t.Addresses) == 0 {
				tell(TargetSeries{Upstream: upstreams[i].Name, Target: t.name(), Used: upstreams[i].Used}, t.Health)
			}
		}
	}
	return omitted, true
}
