package l4_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/tls/hello"
)

// TestLogOfTLS holds what an entry tells of TLS: what a handshake of ours has
// settled, and of TLS that is passed through the name it was routed by.
func TestLogOfTLS(t *testing.T) {
	over := &l4.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "a.test"}
	nameless := &l4.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256"}
	settled := map[string]any{"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "client_verify": "NONE"}
	named := map[string]any{"version": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256", "client_verify": "NONE", "sni": "a.test"}
	tests := []struct {
		name  string
		tls   *l4.TLS
		hello *hello.Info
		want  any
		sni   string
	}{
		{"plaintext", nil, nil, nil, ""},
		{"terminated", over, &hello.Info{ServerName: "a.test"}, named, "a.test"},
		{"terminated without a name", nameless, new(hello.Info), settled, ""},
		{"passed through", nil, &hello.Info{ServerName: "a.test"}, map[string]any{"sni": "a.test"}, "a.test"},
		{"passed through without a name", nil, new(hello.Info), nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info := l4.NewInfo("tls", netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:443"))
			info.TLS, info.Hello = tt.tls, tt.hello
			s := &l4.Session{Info: &info, Protocol: config.TLS}
			var entry struct{ Session map[string]any }
			if err := json.Unmarshal(s.AppendLogEntry(nil), &entry); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, entry.Session["tls"]); diff != "" {
				t.Errorf("session.tls (-want +got):\n%s", diff)
			}
			if got := info.ServerName(); got != tt.sni {
				t.Errorf("the server's name is %q, want %q", got, tt.sni)
			}
		})
	}
}

// TestLogOfUnlogged tells of sessions that have no line, if there are any.
func TestLogOfUnlogged(t *testing.T) {
	info := l4.NewInfo("udp", netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("192.0.2.1:53"))
	for _, want := range []uint64{0, 1, 1 << 63} {
		s := &l4.Session{Info: &info, Protocol: config.UDP, Reason: l4.ReasonNoRoute, Unlogged: want}
		var entry struct {
			Reason   string
			Unlogged *uint64
		}
		if err := json.Unmarshal(s.AppendLogEntry(nil), &entry); err != nil {
			t.Fatal(err)
		}
		if entry.Reason != "no_route" || (entry.Unlogged != nil) != (want > 0) || want > 0 && *entry.Unlogged != want {
			t.Errorf("%d unlogged: %+v", want, entry)
		}
	}
}
