package edge

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/telemetry"
	"github.com/bulwark-edge/bulwark/tls/certs"
	"github.com/bulwark-edge/bulwark/tls/issuer"
)

func TestWarnExpiry(t *testing.T) {
	now := time.Now()
	year := 365 * 24 * time.Hour
	all := []telemetry.CertificateStatus{
		{SHA256: "1", Names: []string{"good.test"}, NotBefore: now.Add(-year), NotAfter: now.Add(year)},
		{SHA256: "2", Names: []string{"soon.test"}, NotBefore: now.Add(-year), NotAfter: now.Add(time.Hour)},
		{SHA256: "3", Names: []string{"gone.test"}, NotBefore: now.Add(-year), NotAfter: now.Add(-time.Hour)},
		{SHA256: "4", Names: []string{"early.test"}, NotBefore: now.Add(time.Hour), NotAfter: now.Add(year)},
		{SHA256: "5", Names: []string{"wanted.test"}},
	}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	warned := make(map[string]telemetry.CertificateState)
	look := func(at time.Time) string {
		b.Reset()
		warnExpiry(log, all, warned, at)
		return b.String()
	}
	first := look(now)
	for _, want := range []string{`"a certificate ends soon" names=soon.test`, `"a certificate has ended" names=gone.test`, `"a certificate is not valid yet" names=early.test`} {
		if !strings.Contains(first, want) {
			t.Errorf("logged %q, want %q", first, want)
		}
	}
	if n := strings.Count(first, "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, first)
	}
	if again := look(now); again != "" {
		t.Errorf("logged again: %q", again)
	}
	if later := look(now.Add(2 * time.Hour)); strings.Count(later, "\n") != 1 || !strings.Contains(later, "has ended\" names=soon.test") {
		t.Errorf("logged %q, want that soon.test has ended", later)
	}

	all, warned = nil, make(map[string]telemetry.CertificateState)
	for i := range expiryLines + 7 {
		all = append(all, telemetry.CertificateStatus{SHA256: strconv.Itoa(i), NotBefore: now.Add(-year), NotAfter: now.Add(-time.Hour)})
	}
	if many := look(now); strings.Count(many, "\n") != expiryLines+1 || !strings.Contains(many, "count=7") {
		t.Errorf("logged %q", many)
	}
}

// TestOrderedCertificates tells of a name with a certificate, and of one that the
// authority does not give any.
func TestOrderedCertificates(t *testing.T) {
	pair, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	all := orderedCertificates([]issuer.Status{
		{Name: "a.test", Held: pair, Error: "the renewal failed"},
		{Name: "b.test", Error: "the order failed"},
	}, certs.Describe)
	if len(all) != 2 || all[0].NotAfter != pair.Leaf.NotAfter || all[0].Names[0] != "a.test" || all[0].Problem != "the renewal failed" ||
		all[0].State(time.Now()) != telemetry.CertificateValid {
		t.Errorf("told %+v", all)
	}
	if all[1].State(time.Now()) != telemetry.CertificateMissing || all[1].Names[0] != "b.test" || all[1].Problem != "the order failed" || all[1].Source != certs.SourceACME {
		t.Errorf("told %+v", all[1])
	}
}
