package requesttransformer

import "testing"

// TestPartNames holds what the header of a part may be against what readers
// could differ about.
func TestPartNames(t *testing.T) {
	const disposition = "Content-Disposition: form-data; "
	tests := []struct {
		header string
		ok     bool
	}{
		{disposition + `name="gone"`, true},
		{disposition + `name=a; filename*=UTF-8''b`, true},
		{disposition + `name="a; name*=b"`, true},
		{"content-disposition: FORM-DATA; name=a", true},
		{"Content-Type: text/plain", false},
		{disposition + "name=a\r\n" + disposition + "name=gone", false},
		{`Content-Disposition: attachment; name="gone"`, false},
		{disposition + `name="gone`, false},
		{disposition + `name=a; name=gone`, false},
		{disposition + `name=go ne`, false},
		{disposition + `name*=UTF-8''gone`, false},
		{disposition + `name=a; NAME*0=gone`, false},
		{disposition + `filename="\""; name*=gone`, false},
	}
	for _, tt := range tests {
		_, err := parseParts([]byte("--xx\r\n"+tt.header+"\r\n\r\n1\r\n--xx--\r\n"), "xx")
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.header, err)
		}
	}
}

func TestExtendedBoundary(t *testing.T) {
	tests := []struct {
		contentType string
		want        bool
	}{
		{"multipart/form-data; boundary=xx", false},
		{`multipart/form-data; x="; boundary*=yy"; boundary=xx`, false},
		{"multipart/form-data; boundary=xx; Boundary*=yy", true},
		{"multipart/form-data;boundary*0=xx", true},
	}
	for _, tt := range tests {
		if got := extended(tt.contentType, "boundary"); got != tt.want {
			t.Errorf("%q: %v", tt.contentType, got)
		}
	}
}
