package iprestriction

import (
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/internal/datafile"
)

// side is one of the two: what is allowed, or what is denied.
type side struct {
	table     *bart.Lite // nil: empty
	files     []*datafile.File[*bart.Lite]
	countries map[string]bool
	asns      map[int]bool
	country   database // open if countries are named
	asn       database // open if autonomous systems are named
}

func (s *side) empty() bool {
	return s.table == nil && len(s.files) == 0 && len(s.countries) == 0 && len(s.asns) == 0
}

// has reports whether an address is listed.
func (s *side) has(a netip.Addr) bool {
	if s.table != nil && s.table.Contains(a) {
		return true
	}
	for _, f := range s.files {
		if f.Data().Contains(a) {
			return true
		}
	}
	return len(s.countries) > 0 && s.countries[s.country.country(a)] ||
		len(s.asns) > 0 && s.asns[s.asn.asn(a)]
}

// build opens what the side consists of. What is open after an error is closed
// by close, as after success.
func (s *side) build(env plugins.Env, addresses []schema.Prefix, files, countries []string, asns []int, cfg *Config) error {
	if len(addresses) > 0 {
		s.table = new(bart.Lite)
		for _, p := range addresses {
			s.table.Insert(p.Prefix)
		}
	}
	for _, path := range files {
		f, err := datafile.Open(env, lists, path)
		if err != nil {
			return err
		}
		s.files = append(s.files, f)
	}
	var err error
	if len(countries) > 0 {
		s.countries = make(map[string]bool)
		for _, c := range countries {
			s.countries[c] = true
		}
		if s.country.File, err = datafile.Open(env, countryFiles, cfg.CountryDatabase); err != nil {
			return err
		}
	}
	if len(asns) > 0 {
		s.asns = make(map[int]bool)
		for _, n := range asns {
			s.asns[n] = true
		}
		if s.asn.File, err = datafile.Open(env, asnFiles, cfg.ASNDatabase); err != nil {
			return err
		}
	}
	return nil
}

func (s *side) close() {
	for _, f := range s.files {
		f.Close()
	}
	for _, d := range []database{s.country, s.asn} {
		if d.File != nil {
			d.Close()
		}
	}
}
