package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const credentialsFile = `
ca_certificates: [{id: 0855b320-0dd2-547d-891d-601e9b38647f, cert: CA}]
consumers:
- username: joe
  custom_id: "7"
  mtls_auth_credentials:
  - {subject_name: joe.example, ca_certificate: {id: 0855b320-0dd2-547d-891d-601e9b38647f}}
  - {subject_name: any.example}
- {username: ann, custom_id: "8"}
mtls_auth_credentials:
- {consumer: ann, subject_name: joe.example}
header_cert_auth_credentials:
- {consumer: {username: ann}, subject_name: joe.example}
`

// A credential is found by its name and its authority, and a consumer by its
// custom_id; both stay found when a later configuration adopts them, and are not
// any more when they have gone.
func TestCredentialLookup(t *testing.T) {
	words := pemWords(t) // the authority is another one each time
	load := func(src string) *Config { return mustLoad(t, words.Replace(src)) }
	ca, _ := ParseID("0855b320-0dd2-547d-891d-601e9b38647f")
	check := func(name string, c *Config, want string) {
		t.Helper()
		whose := func(consumer Ref[Consumer], ok bool) string {
			if !ok {
				return "-"
			}
			e, _ := c.Consumers.Get(consumer.ID)
			return e.Username
		}
		mtls := func(subject string, ca ID) string {
			e, ok := c.MTLSAuthCredential(subject, ca)
			if !ok {
				return "-"
			}
			return whose(e.Consumer, ok)
		}
		got := mtls("joe.example", ca) + " " + mtls("joe.example", ID{}) + " " + mtls("any.example", ID{}) + " " + mtls("any.example", ca)
		if e, ok := c.HeaderCertAuthCredential("joe.example", ID{}); ok {
			got += " " + whose(e.Consumer, ok)
		}
		for _, id := range []string{"7", "8", "joe"} {
			if e, ok := c.ConsumerByCustomID(id); ok {
				got += " " + id + "=" + e.Username
			}
		}
		if got != want {
			t.Errorf("%s: found %q, want %q", name, got, want)
		}
	}
	first := load(credentialsFile)
	check("loaded", first, "joe ann joe - ann 7=joe 8=ann")

	second, changed := load(`
ca_certificates: [{id: 0855b320-0dd2-547d-891d-601e9b38647f, cert: CA}]
consumers: [{username: joe, custom_id: "8"}, {username: ann}]
mtls_auth_credentials:
- {consumer: ann, subject_name: joe.example}
- {consumer: joe, subject_name: any.example, ca_certificate: 0855b320-0dd2-547d-891d-601e9b38647f}
`).Adopt(first)
	check("adopted", second, "- ann - joe 8=joe")
	if len(changed) == 0 {
		t.Error("nothing changed")
	}
	if a, b := first.MTLSAuthCredentials.All()[2], second.MTLSAuthCredentials.All()[0]; a != b {
		t.Error("an equal credential was not adopted")
	}
	check("the old one", first, "joe ann joe - ann 7=joe 8=ann")
}

// A name and an authority are one credential's; references must lead somewhere,
// and the id of a credential without one follows from both.
func TestCredentialRules(t *testing.T) {
	got := loadErrors(t, versioned(`
consumers: [{username: joe, mtls_auth_credentials: [{subject_name: a}, {id: 5c6bb0d5-6bc4-4f3c-9e5c-3c5c0a2d3f10, subject_name: a}, {consumer: ann, subject_name: b}]}, {username: ann}]
header_cert_auth_credentials: [{subject_name: a, consumer: joe}, {consumer: joe}, {subject_name: c}]
mtls_auth_credentials: [{subject_name: x, consumer: nobody}, {subject_name: y, consumer: joe, ca_certificate: 0855b320-0dd2-547d-891d-601e9b38647f}]
`), testOrigin{})
	want := []string{
		"3:129: consumers[0].mtls_auth_credentials[1].subject_name: uniqueness violation: 'mtls_auth_credentials' entity with subject_name, ca_certificate set to 'a, null' already declared (expected another one than on line 3)",
		`3:144: consumers[0].mtls_auth_credentials[2].consumer: value must be null (found "ann"; expected no consumer other than the one this is nested in)`,
		"4:66: header_cert_auth_credentials[1].subject_name: required field missing (expected a string)",
		"4:83: header_cert_auth_credentials[2].consumer: required field missing (expected the id or name of one of the consumers)",
		"5:53: mtls_auth_credentials[0].consumer: invalid reference 'consumer: nobody' (no such entry in 'consumers')",
		"5:111: mtls_auth_credentials[1].ca_certificate: invalid reference 'ca_certificate: 0855b320-0dd2-547d-891d-601e9b38647f' (no such entry in 'ca_certificates')",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
