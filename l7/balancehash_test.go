package l7

import (
	"regexp"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/upstream"
)

func TestParseHashKind(t *testing.T) {
	for i, name := range hashKindNames {
		if k, ok := ParseHashKind(name); k != HashKind(i) || !ok {
			t.Errorf("ParseHashKind(%q) = %v, %v", name, k, ok)
		}
	}
	if k, ok := ParseHashKind("colour"); ok {
		t.Errorf("ParseHashKind of an unknown name = %v", k)
	}
}

func TestHashPolicy(t *testing.T) {
	joe := &config.Consumer{Username: "joe"}
	joe.ID[0] = 7
	from := func(kind HashKind, name string) HashSource { return HashSource{Kind: kind, Name: name} }
	tests := []struct {
		name         string
		on, fallback HashSource
		target       string
		fields       []string
		consumer     *config.Consumer
		want         string // the text that is hashed; "": none is
	}{
		{"none", HashSource{}, HashSource{}, "/", nil, nil, ""},
		{"ip", from(HashIP, ""), HashSource{}, "/", nil, nil, "192.0.2.7"},
		{"consumer", from(HashConsumer, ""), HashSource{}, "/", nil, joe, joe.ID.String()},
		{"no consumer", from(HashConsumer, ""), HashSource{}, "/", nil, nil, ""},
		{"no consumer, but an address", from(HashConsumer, ""), from(HashIP, ""), "/", nil, nil, "192.0.2.7"},
		{"path", from(HashPath, ""), HashSource{}, "/a/b?c", nil, nil, "/a/b"},
		{"header", from(HashHeader, "x-user"), HashSource{}, "/", []string{"X-User: joe"}, nil, "joe"},
		{"headers", from(HashHeader, "x-user"), HashSource{}, "/", []string{"X-User: joe", "X-Other: x", "x-user: ann"}, nil, "joeann"},
		{"known header", from(HashHeader, "User-Agent"), HashSource{}, "/", []string{"User-Agent: curl"}, nil, "curl"},
		{"no header", from(HashHeader, "x-user"), HashSource{}, "/", []string{"X-Users: joe"}, nil, ""},
		{"empty header", from(HashHeader, "x-user"), from(HashPath, ""), "/p", []string{"X-User: "}, nil, "/p"},
		{"two headers", from(HashHeader, "x-a"), from(HashHeader, "x-b"), "/", []string{"X-B: b"}, nil, "b"},
		{"cookie", from(HashCookie, "sid"), HashSource{}, "/", []string{"Cookie: a=1; sid=2=3;b=4"}, nil, "2=3"},
		{"cookie of two fields", from(HashCookie, "sid"), HashSource{}, "/", []string{"Cookie: a=1", "Cookie: sid=2"}, nil, "2"},
		{"argument", from(HashQueryArg, "q"), HashSource{}, "/?a=1&q=x%20y+z", nil, nil, "x y z"},
		{"arguments are sorted", from(HashQueryArg, "q"), HashSource{}, "/?q=b&%71=a&Q=c&qq=d", nil, nil, "ab"},
		{"argument that is no escape", from(HashQueryArg, "q"), HashSource{}, "/?q=%zz", nil, nil, "%zz"},
		{"argument without a value", from(HashQueryArg, "q"), HashSource{}, "/?q&q=", nil, nil, ""},
		{"capture", from(HashURICapture, "id"), HashSource{}, "/", nil, nil, "42"},
		{"capture by number", from(HashURICapture, "1"), HashSource{}, "/", nil, nil, "42"},
		{"no capture", from(HashURICapture, "name"), from(HashURICapture, "id"), "/", nil, nil, "42"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x, _ := request(t, "GET", tt.target, tt.fields...)
			x.Path, x.Consumer = x.Req.Path, tt.consumer
			x.Match.Captures = append(x.Match.Captures, Capture{Group: 1, Name: "id", Value: "42"})
			p := HashPolicy{On: tt.on, Fallback: tt.fallback, CookiePath: "/"}
			hash, ok, cookie := p.Hash(x)
			if ok != (tt.want != "") || ok && hash != upstream.Hash(tt.want) || cookie != "" {
				t.Errorf("hash %#x, %v, cookie %q, want that of %q", hash, ok, cookie, tt.want)
			}
		})
	}
}

// TestHashPolicyCookie shows that a client without the cookie is given one of
// which the hash is made.
func TestHashPolicyCookie(t *testing.T) {
	form := regexp.MustCompile(`^sid=([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}); Path=/shop; Same-Site=Lax; HttpOnly$`)
	cookie := HashSource{Kind: HashCookie, Name: "sid"}
	for name, p := range map[string]HashPolicy{
		"on":       {On: cookie, CookiePath: "/shop"},
		"fallback": {On: HashSource{Kind: HashHeader, Name: "x-user"}, Fallback: cookie, CookiePath: "/shop"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(map[string]bool)
			for range 100 {
				x, _ := request(t, "GET", "/", "Cookie: sid=")
				hash, ok, set := p.Hash(x)
				m := form.FindStringSubmatch(set)
				if m == nil || !ok || hash != upstream.Hash(m[1]) {
					t.Fatalf("hash %#x, %v, cookie %q", hash, ok, set)
				}
				seen[m[1]] = true
				x, _ = request(t, "GET", "/", "Cookie: "+strings.TrimSuffix(set, "; Path=/shop; Same-Site=Lax; HttpOnly"))
				if again, ok, set := p.Hash(x); again != hash || !ok || set != "" {
					t.Fatalf("with the cookie: hash %#x, %v, cookie %q", again, ok, set)
				}
			}
			if len(seen) != 100 {
				t.Errorf("%d different cookies of 100", len(seen))
			}
		})
	}
}
