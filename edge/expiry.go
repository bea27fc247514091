package edge

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

// How often certificates are looked at, and how many are named in the log at a
// time.
const (
	expiryInterval = 12 * time.Hour
	expiryLines    = 20
)

// Certificates tells of every certificate that clients may be shown.
func (e *Edge) Certificates() []telemetry.CertificateStatus {
	s := e.Current()
	if s == nil {
		return nil
	}
	return e.besides(s, Certificates(s.Config), certs.Describe)
}

// certificateEnds is Certificates but for their texts. Those of entities are gone
// through once for a snapshot: there may be thousands.
func (e *Edge) certificateEnds() []telemetry.CertificateStatus {
	s := e.Current()
	if s == nil {
		return nil
	}
	s.endsOnce.Do(func() { s.ends = certificatesOf(s.Config, certs.Brief) })
	return e.besides(s, slices.Clip(s.ends), certs.Brief)
}

// besides adds those that stand in no configuration.
func (e *Edge) besides(s *Snapshot, all []telemetry.CertificateStatus, tell certs.Teller) []telemetry.CertificateStatus {
	if s.orders() {
		all = append(all, orderedCertificates(e.env.Issuer.Status(), tell)...)
	}
	if s.local != nil {
		all = append(all, s.local.Describe(tell)...)
	}
	self := tell(e.env.DefaultCert, certs.SourceSelfSigned, "", nil)
	if self.SHA256 == "" {
		self.SHA256 = e.defaultSum // it has nothing else to be called by
	}
	return append(all, self)
}

// Certificates tells of those that stand in a configuration.
func Certificates(cfg *config.Config) []telemetry.CertificateStatus {
	return certificatesOf(cfg, certs.Describe)
}

func certificatesOf(cfg *config.Config, tell certs.Teller) []telemetry.CertificateStatus {
	names := certificateNames(cfg)
	var all []telemetry.CertificateStatus
	for _, c := range cfg.Certificates.All() {
		used := slices.Sorted(slices.Values(names[c.ID]))
		pairs := c.Pairs()
		for i := range pairs {
			all = append(all, tell(&pairs[i], certs.SourceEntity, c.ID.String(), used))
		}
	}
	return all
}

// orderedCertificates tells of the names that are ordered, also of those that
// there is no certificate for.
func orderedCertificates(names []issuer.Status, tell certs.Teller) (all []telemetry.CertificateStatus) {
	for i := range names {
		n := &names[i]
		c := telemetry.CertificateStatus{Source: certs.SourceACME, Names: []string{n.Name}}
		if n.Held != nil {
			c = tell(n.Held, certs.SourceACME, "", c.Names)
		}
		c.Problem = n.Error
		all = append(all, c)
	}
	return all
}

// stapled returns the certificates of entities that answers of OCSP are shown
// with.
func (e *Edge) stapled() []*tls.Certificate {
	s := e.Current()
	if s == nil || !s.Config.Node.TLS.Stapling {
		return nil
	}
	var all []*tls.Certificate
	for _, c := range s.Config.Certificates.All() {
		pairs := c.Pairs()
		for i := range pairs {
			all = append(all, &pairs[i])
		}
	}
	return all
}

// certificateNames returns the names that each certificate is used for.
func certificateNames(cfg *config.Config) map[config.ID][]string {
	names := make(map[config.ID][]string)
	for _, s := range cfg.SNIs.All() {
		names[s.Certificate.ID] = append(names[s.Certificate.ID], s.Name)
	}
	return names
}

// watchExpiry warns of certificates that end soon or have ended: when another
// configuration serves, and from time to time.
func (e *Edge) watchExpiry(ctx context.Context, swapped <-chan struct{}) {
	tick := time.NewTicker(expiryInterval)
	defer tick.Stop()
	warned := make(map[string]telemetry.CertificateState)
	for {
		select {
		case <-ctx.Done():
			return
		case <-swapped:
		case <-tick.C:
			clear(warned)
		}
		if now := time.Now(); slices.ContainsFunc(e.certificateEnds(), func(c telemetry.CertificateStatus) bool { return c.State(now) != telemetry.CertificateValid }) {
			warnExpiry(e.env.Log, e.Certificates(), warned, now)
		}
	}
}

// warnExpiry logs those certificates that were not logged in their state.
func warnExpiry(log *slog.Logger, all []telemetry.CertificateStatus, warned map[string]telemetry.CertificateState, now time.Time) {
	told, more := 0, 0
	for i := range all {
		c := &all[i]
		state := c.State(now)
		switch {
		case state == telemetry.CertificateValid || state == telemetry.CertificateMissing || warned[c.SHA256] == state:
			continue
		case told == expiryLines:
			more++
			continue
		}
		warned[c.SHA256] = state
		told++
		log.Warn("a certificate "+expiryTexts[state], "names", strings.Join(c.Names, ","), "source", c.Source, "id", c.ID,
			"subject", c.Subject, "not_before", c.NotBefore.UTC().Format(time.RFC3339), "not_after", c.NotAfter.UTC().Format(time.RFC3339))
	}
	if more > 0 {
		log.Warn("more certificates end soon, have ended or are not valid yet; see /status/certificates", "count", more)
	}
}

var expiryTexts = map[telemetry.CertificateState]string{
	telemetry.CertificateExpiring: "ends soon",
	telemetry.CertificateExpired:  "has ended",
	telemetry.CertificateEarly:    "is not valid yet",
}
