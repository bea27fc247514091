package waf_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/waf"
)

// TestPitfallPaddingDoesNotHide: an attack behind more content than is inspected
// is refused with the content where rules would have read it, as in the
// recommended rules; uploads pass.
func TestPitfallPaddingDoesNotHide(t *testing.T) {
	e := coreRules(t)
	filler := strings.Repeat("lorem ipsum ", 400)
	attack := "<script>alert(1)</script>"
	file := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n"
	s := waf.Settings{
		RequestBody:  waf.BodySettings{Limit: 2048, Beyond: waf.ByType},
		AllowedTypes: []string{form, "application/json", "text/xml", "multipart/form-data", "application/octet-stream", "text/plain", "application/x-thing"},
		Processors:   map[string]waf.Processor{"application/x-thing": waf.JSON},
	}
	for _, tt := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"form", form, "x=" + filler + "&y=" + attack, 413},
		{"JSON", "application/json; charset=utf-8", `{"x":"` + filler + `","y":"` + attack + `"}`, 413},
		{"XML", "text/xml", "<a>" + filler + attack + "</a>", 413},
		{"unknown type, which is taken for a form", "text/plain", filler + attack, 413},
		{"JSON by the profile", "application/x-thing", `{"x":"` + filler + `"}`, 413},
		{"binary", "application/octet-stream", filler, 0},
		{"file", "multipart/form-data; boundary=b", file + filler + "\r\n--b--\r\n", 0},
		{"short form", form, "x=y", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Mode = waf.Block
			v, ev := inspect(profile(t, e, s), post("/", tt.contentType, tt.body))
			if v.Status != tt.status {
				t.Errorf("%+v, %+v", v, ev)
			}
			if long := len(tt.body) > 2048; long != (ev != nil && slices.Contains(ev.Uninspected, "request_body: limit")) {
				t.Errorf("what is not inspected is not told: %+v", ev)
			}
			s.Mode = waf.Detect
			if v, _ := inspect(profile(t, e, s), post("/", tt.contentType, tt.body)); v.Action != waf.Pass {
				t.Errorf("detecting: %+v", v)
			}
		})
	}
}
