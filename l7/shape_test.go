package l7

import (
	"strings"
	"testing"
)

func TestErrorShape(t *testing.T) {
	tests := []struct {
		name     string
		fields   string
		fallback string
		want     shape
	}{
		{"nothing", "", "text/plain", shapePlain},
		{"nothing, another default", "", "text/html", shapeHTML},
		{"anything", "Accept: */*", "text/plain", shapeJSON},
		{"JSON", "Accept: application/json", "text/plain", shapeJSON},
		{"a browser", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "", shapeHTML},
		{"XML", "Accept: text/xml", "", shapeXML},
		{"any text", "Accept: text/*", "", shapePlain},
		{"weights", "Accept: text/html;q=0.2, application/xml; q=0.7 ,text/plain;q=0.5", "", shapeXML},
		{"the first of equals", "Accept: text/plain, text/html", "", shapePlain},
		{"refused", "Accept: text/html;q=0, text/plain;q=0.1", "", shapePlain},
		{"letter case", "Accept: TEXT/HTML;Q=1", "", shapeHTML},
		{"a weight that is none", "Accept: text/html;q=x, text/plain", "", shapePlain},
		{"a weight over one", "Accept: text/html;q=7, text/plain;q=0.1", "", shapePlain},
		{"other parameters", "Accept: text/html;level=1;q=0.4, text/plain;q=0.3", "", shapeHTML},
		{"nothing that we have", "Accept: image/png", "text/plain", shapeJSON},
		{"an empty field", "Accept:", "text/plain", shapeJSON},
		{"the request's own content", "Content-Type: application/xml; charset=utf-8", "text/plain", shapeXML},
		{"content of another kind", "Content-Type: multipart/form-data; boundary=x", "text/plain", shapeJSON},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h Header
			if name, value, ok := strings.Cut(tt.fields, ":"); ok {
				h.Add(name, strings.TrimSpace(value))
			}
			if got := errorShape(&h, tt.fallback); got != tt.want {
				t.Errorf("shape %d, want %d", got, tt.want)
			}
		})
	}
}

func TestShapeEscapes(t *testing.T) {
	const message = `<b>"&` + "\x01" + `</b>`
	for s := shapeJSON; s <= shapePlain; s++ {
		got := string(s.body(message, "id"))
		if s != shapePlain && (strings.Contains(got, "<b>\"") || s == shapeJSON && strings.Contains(got, "\x01")) {
			t.Errorf("shape %d lets markup through: %s", s, got)
		}
		if !strings.Contains(got, "id") {
			t.Errorf("shape %d has no request id", s)
		}
	}
}
