package iprestriction

import (
	"bytes"
	"errors"
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

// countryFiles and asnFiles are files in MaxMind's format that tell the one or the
// other. One that does not would refuse nobody that deny_countries or deny_asns
// name, and is an error.
var (
	countryFiles = datafile.Format[*maxminddb.Reader]{Name: "country database", Parse: parser[string]("country", "iso_code")}
	asnFiles     = datafile.Format[*maxminddb.Reader]{Name: "ASN database", Parse: parser[uint32]("autonomous_system_number")}
)

// probed is how many networks of a database are looked at for what it is to tell.
const probed = 100_000

var errTellsNothing = errors.New("it does not tell what it is used for")

// parser reads a database in which some of the first networks have a value at
// path.
func parser[T comparable](path ...any) func([]byte) (*maxminddb.Reader, error) {
	return func(content []byte) (*maxminddb.Reader, error) {
		r, err := maxminddb.OpenBytes(content)
		if err != nil {
			return nil, err
		}
		left := probed
		for network := range r.Networks() {
			var value, none T
			if err := network.DecodePath(&value, path...); err == nil && value != none {
				return r, nil // an error is a record of another make, of which there may be some
			}
			if left--; left == 0 {
				break
			}
		}
		return nil, fmt.Errorf("%w: %v", errTellsNothing, path)
	}
}

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
