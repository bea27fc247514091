package headercertauth_test

import (
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/plugins/headercertauth"
)

// asURL writes PEM as nginx does.
func asURL(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func testPEM(t testing.TB, name string) string {
	t.Helper()
	text, err := testkit.ClientPEM(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func testBase64(t testing.TB, name string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(testPEM(t, name)))
	return base64.StdEncoding.EncodeToString(block.Bytes)
}

func TestParse(t *testing.T) {
	joe, der := testPEM(t, "joe"), testBase64(t, "joe")
	tests := []struct {
		name, format, value string
		want                int // certificates; 0: refused
	}{
		{"URL", "url_encoded", asURL(joe), 1},
		{"URL, a chain", "url_encoded", asURL(testPEM(t, "below")), 2},
		{"URL, plus signs as they are", "url_encoded", strings.ReplaceAll(asURL(joe), "%2B", "+"), 1},
		{"URL, empty", "url_encoded", "", 0},
		{"URL, a broken escape", "url_encoded", asURL(joe) + "%0", 0},
		{"URL, words before", "url_encoded", "hello" + asURL(joe), 0},
		{"URL, words after", "url_encoded", asURL(joe) + "hello", 0},
		{"URL, half of one", "url_encoded", asURL(joe)[:400], 0},
		{"URL, a broken one before", "url_encoded", asURL(strings.Replace(joe, "M", "!", 1) + joe), 0},
		{"URL, another kind of block", "url_encoded", asURL(strings.ReplaceAll(joe, "CERTIFICATE", "PRIVATE KEY")), 0},
		{"URL, with headers", "url_encoded", asURL(strings.Replace(joe, "-----\n", "-----\nA: b\n\n", 1)), 0},
		{"URL, as many as may be", "url_encoded", asURL(strings.Repeat(joe, headercertauth.MaxCertificates)), headercertauth.MaxCertificates},
		{"URL, one too many", "url_encoded", asURL(strings.Repeat(joe, headercertauth.MaxCertificates+1)), 0},
		{"Base64", "base64_encoded", der, 1},
		{"Base64, a list", "base64_encoded", der + ", " + testBase64(t, "ann"), 2},
		{"Base64 of PEM", "base64_encoded", base64.StdEncoding.EncodeToString([]byte(testPEM(t, "below"))), 2},
		{"Base64, nothing behind the comma", "base64_encoded", der + ",", 0},
		{"Base64, broken", "base64_encoded", der[:len(der)-5], 0},
		{"Base64, more behind it", "base64_encoded", base64.StdEncoding.EncodeToString([]byte("x")), 0},
		{"Base64, one too many", "base64_encoded", strings.Repeat(der+",", headercertauth.MaxCertificates) + der, 0},
		{"too long", "base64_encoded", strings.Repeat("A", headercertauth.MaxField+1), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			chain, err := headercertauth.Parse(tt.value, tt.format)
			if (err == nil) != (tt.want > 0) || len(chain) != tt.want {
				t.Errorf("%d certificates, error %v; want %d", len(chain), err, tt.want)
			}
		})
	}
}

// FuzzParse holds that what is taken is bounded, and never half of something.
func FuzzParse(f *testing.F) {
	f.Add(asURL(testPEM(f, "joe")), true)
	f.Add(asURL(testPEM(f, "below")), true)
	f.Add(testBase64(f, "joe")+","+testBase64(f, "ann"), false)
	f.Add("-----BEGIN%20CERTIFICATE-----", true)
	f.Fuzz(func(t *testing.T, value string, inURL bool) {
		format := "base64_encoded"
		if inURL {
			format = "url_encoded"
		}
		chain, err := headercertauth.Parse(value, format)
		if err != nil {
			if chain != nil {
				t.Error("certificates beside an error")
			}
			return
		}
		if len(chain) == 0 || len(chain) > headercertauth.MaxCertificates {
			t.Errorf("%d certificates", len(chain))
		}
		for _, c := range chain {
			if len(c.Raw) == 0 {
				t.Error("an empty certificate")
			}
		}
	})
}
