package iprestriction

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/bulwark-edge/bulwark/config/schema"
	"github.com/bulwark-edge/bulwark/plugins/internal/datafile"
)

// lists are files of addresses.
var lists = datafile.Format[*bart.Lite]{Name: "address list", Parse: parseList}

// parseList reads an address or CIDR range a line. What follows # is a comment,
// and lines may be empty.
func parseList(content []byte) (*bart.Lite, error) {
	t := new(bart.Lite)
	line := 0
	for text := range bytes.Lines(content) {
		line++
		text, _, _ = bytes.Cut(text, []byte("#"))
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		var p schema.Prefix
		if err := p.UnmarshalText(text); err != nil {
			return nil, fmt.Errorf("line %d: %.64q: %w", line, text, err)
		}
		t.Insert(p.Prefix)
	}
	return t, nil
}

// databases are files in MaxMind's format.
var databases = datafile.Format[*maxminddb.Reader]{Name: "address database", Parse: func(content []byte) (*maxminddb.Reader, error) {
	return maxminddb.OpenBytes(content)
}}

// database is a database, or none.
type database struct {
	*datafile.File[*maxminddb.Reader]
}

// country returns the ISO code of an address's country, "" if it is not known.
func (d database) country(a netip.Addr) string {
	var code string
	if err := d.Data().Lookup(a).DecodePath(&code, "country", "iso_code"); err != nil {
		return "" // a record of another make: the country is not known
	}
	return code
}

// asn returns the number of an address's autonomous system, 0 if it is not known.
func (d database) asn(a netip.Addr) int {
	var n uint32
	if err := d.Data().Lookup(a).DecodePath(&n, "autonomous_system_number"); err != nil {
		return 0
	}
	return int(n)
}
