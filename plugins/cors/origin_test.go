package cors

import "testing"

func TestOrigins(t *testing.T) {
	tests := []struct {
		name, origin string
		list         []string
		want         string // what is told; "" if the origin is not allowed
	}{
		{"exact", "https://a.test", []string{"https://a.test", "https://b.test"}, "https://a.test"},
		{"second of the list", "https://b.test", []string{"https://a.test", "https://b.test"}, "https://b.test"},
		{"another scheme", "http://a.test", []string{"https://a.test", "https://b.test"}, ""},
		{"another port", "https://a.test:8443", []string{"https://a.test", "https://b.test"}, ""},
		{"own port of the request", "https://a.test:443", []string{"https://a.test", "https://b.test"}, "https://a.test"},
		{"own port of the list", "http://a.test", []string{"http://a.test:80", "https://b.test"}, "http://a.test"},
		{"port", "http://a.test:8080", []string{"http://a.test:8080", "https://b.test"}, "http://a.test:8080"},
		{"path in the list", "http://a.test", []string{"http://a.test/x", "https://b.test"}, "http://a.test"},
		{"longer name", "https://a.test.evil.test", []string{"https://a.test", "https://b.test"}, ""},
		{"bare host is no origin", "https://a.test", []string{"a.test", "b.test"}, ""},
		{"null", "null", []string{"null", "https://b.test"}, "null"},
		{"no scheme", "a.test", []string{"https://a.test", "https://b.test"}, ""},
		{"no host", "http://", []string{"https://a.test", "https://b.test"}, ""},
		{"user", "http://me@a.test", []string{"http://a.test", "https://b.test"}, "http://a.test"},
		{"address", "http://[2001:db8::1]:80", []string{"https://b.test", `http://\[2001:db8::1\]`}, "http://[2001:db8::1]"},
		{"expression on the host", "https://x.a.test", []string{`.*\.a\.test`}, "https://x.a.test"},
		{"expression on the host, with a port", "https://x.a.test:8443", []string{`.*\.a\.test`}, "https://x.a.test:8443"},
		{"expression is anchored at its end", "https://x.a.test.evil.test", []string{`.*\.a\.test`}, ""},
		{"expression is anchored at its start", "https://evil-a.test", []string{`a\.test`}, ""},
		{"expression on the origin", "https://x.a.test", []string{`https://.*\.a\.test`}, "https://x.a.test"},
		{"expression on the origin, other scheme", "http://x.a.test", []string{`https://.*\.a\.test`}, ""},
		{"expression on the origin with a port", "https://x.a.test:8443", []string{`https://.*\.a\.test(:\d+)?`}, "https://x.a.test:8443"},
		{"anchors of its own", "https://a.test", []string{`^https://a\.test$`}, "https://a.test"},
		{"alternatives are anchored", "https://a.test.evil.test", []string{`https://a\.test|https://b\.test`}, ""},
		{"alternative", "https://b.test", []string{`https://a\.test|https://b\.test`}, "https://b.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := newOrigins(tt.list)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := o.allowed(tt.origin)
			if got != tt.want || ok != (tt.want != "") {
				t.Errorf("the origin %q gives %q, %t; want %q", tt.origin, got, ok, tt.want)
			}
		})
	}
}

func FuzzNormal(f *testing.F) {
	for _, s := range []string{"https://a.test:443", "http://[::1]:80/x", "null", "://", "http://u@h:1?q", "http://a:b:80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, _ := normal(s)
		if again, _ := normal(text); len(again) > len(text) {
			t.Errorf("%q becomes %q, and that the longer %q", s, text, again)
		}
	})
}
