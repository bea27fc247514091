package telemetry

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A certificate is warned of when it ends within certificateNotice, and less than
// a fifth of its life is left: by then whoever renews by hand wants to know, and
// whoever renews by itself has failed for some time.
const (
	certificateNotice = 14 * 24 * time.Hour
	noticePart        = 5
)

// maxStatusCertificates bounds the certificates in one answer of the status
// listener; those that end first are told, and those left out are counted.
const maxStatusCertificates = 1000

// CertificateState says whether a certificate can be used.
type CertificateState string

// The states.
const (
	CertificateValid    CertificateState = "valid"
	CertificateExpiring CertificateState = "expiring" // it ends within 14 days, and a fifth of its life
	CertificateExpired  CertificateState = "expired"
	CertificateEarly    CertificateState = "not_yet_valid"
	CertificateMissing  CertificateState = "missing" // it is wanted and could not be had so far
)

// CertificateStatus is one look at a certificate that clients may be shown.
type CertificateStatus struct {
	Source    string    // who provides it: certificates, acme, local, or self_signed for the fallback
	ID        string    // of the entity; "" if it is none
	Names     []string  // server names that it is used for, sorted
	Subject   string    // RFC 4514
	Issuer    string    // RFC 4514
	Key       string    // such as "ECDSA P-256"
	Serial    string    // hexadecimal
	SHA256    string    // hexadecimal, of the whole certificate
	NotBefore time.Time // zero with CertificateMissing
	NotAfter  time.Time
	PEM       string // as clients are shown it, with its chain
	Problem   string // what went wrong last when it was to be renewed; "" if nothing
}

// State says whether the certificate can be used at a time.
func (c *CertificateStatus) State(now time.Time) CertificateState {
	switch {
	case c.NotAfter.IsZero():
		return CertificateMissing
	case now.After(c.NotAfter):
		return CertificateExpired
	case now.Before(c.NotBefore):
		return CertificateEarly
	case now.Add(min(certificateNotice, c.NotAfter.Sub(c.NotBefore)/noticePart)).After(c.NotAfter):
		return CertificateExpiring
	}
	return CertificateValid
}

// called reports whether the certificate is the one of an id, a digest, or a
// server name that it is used for.
func (c *CertificateStatus) called(name string) bool {
	return c.ID != "" && c.ID == name || c.SHA256 != "" && strings.EqualFold(c.SHA256, name) ||
		slices.Contains(c.Names, strings.ToLower(name))
}

// CertificatesBody is the answer to GET /status/certificates.
type CertificatesBody struct {
	Data    []CertificateBody `json:"data"`    // those that end first come first
	Omitted int               `json:"omitted"` // certificates that are not shown
}

// CertificateBody is a certificate in the answers to GET /status/certificates
// and /status/certificates/{name}.
type CertificateBody struct {
	Source    string           `json:"source"`
	ID        string           `json:"id,omitempty"`
	Names     []string         `json:"names"`
	State     CertificateState `json:"state"`
	Problem   string           `json:"problem,omitempty"`
	Subject   string           `json:"subject"`
	Issuer    string           `json:"issuer"`
	Key       string           `json:"key"`
	Serial    string           `json:"serial"`
	SHA256    string           `json:"sha256"`
	NotBefore *time.Time       `json:"not_before"`
	NotAfter  *time.Time       `json:"not_after"`
	PEM       string           `json:"pem,omitempty"` // only where one is asked for by its name
}

func describeCertificate(c *CertificateStatus, now time.Time) CertificateBody {
	names := c.Names
	if names == nil {
		names = []string{}
	}
	return CertificateBody{
		Source: c.Source, ID: c.ID, Names: names, State: c.State(now), Problem: c.Problem,
		Subject: c.Subject, Issuer: c.Issuer, Key: c.Key, Serial: c.Serial, SHA256: c.SHA256,
		NotBefore: known(c.NotBefore), NotAfter: known(c.NotAfter),
	}
}

// DescribeCertificates shows those certificates that end first, up to a bound.
func DescribeCertificates(all []CertificateStatus, now time.Time) CertificatesBody {
	all = soonestFirst(all)
	b := CertificatesBody{Data: []CertificateBody{}, Omitted: max(0, len(all)-maxStatusCertificates)}
	for i := range all[:min(len(all), maxStatusCertificates)] {
		b.Data = append(b.Data, describeCertificate(&all[i], now))
	}
	return b
}

// DescribeCertificate shows the certificates of an id, a digest or a server
// name, with their PEM.
func DescribeCertificate(all []CertificateStatus, name string, now time.Time) CertificatesBody {
	b := CertificatesBody{Data: []CertificateBody{}}
	all = soonestFirst(all)
	for i := range all {
		if all[i].called(name) {
			d := describeCertificate(&all[i], now)
			d.PEM = all[i].PEM
			b.Data = append(b.Data, d)
		}
	}
	return b
}

func soonestFirst(all []CertificateStatus) []CertificateStatus {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b CertificateStatus) int { return compareEnds(&a, &b) })
	return all
}

// compareEnds orders certificates by their end, and those of one end in some way
// that does not change.
func compareEnds(a, b *CertificateStatus) int {
	return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Source, b.Source), cmp.Compare(a.ID, b.ID), slices.Compare(a.Names, b.Names))
}

func serveCertificates(src StatusSource) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, DescribeCertificates(src.Certificates(), time.Now()))
	}
}

func serveCertificate(src StatusSource) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b := DescribeCertificate(src.Certificates(), r.PathValue("name"), time.Now())
		if len(b.Data) == 0 {
			writeJSON(w, http.StatusNotFound, messageBody{"Not found"})
			return
		}
		writeJSON(w, http.StatusOK, b)
	}
}
