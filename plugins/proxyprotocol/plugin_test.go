package proxyprotocol_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	proxyproto "github.com/pires/go-proxyproto"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/internal/testkit"
	"github.com/bulwark-edge/bulwark/l4"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/plugins/proxyprotocol"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }

func header(t *testing.T, cfg proxyprotocol.Config, protocol config.Protocol, client, local string, tls *l4.TLS) []byte {
	t.Helper()
	built, err := proxyprotocol.New(cfg, plugins.Env{})
	if err != nil {
		t.Fatal(err)
	}
	info := l4.NewInfo("tcp", netip.MustParseAddrPort(client), netip.MustParseAddrPort(local))
	info.TLS = tls
	s := &l4.Session{Info: &info, Protocol: protocol}
	built.(l4.UpstreamHook).UpstreamSession(s)
	return s.Preamble
}

// TestHeader lets another implementation read what upstreams are told.
func TestHeader(t *testing.T) {
	over := &l4.TLS{Version: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "mail.test", Protocol: "imap"}
	all := []string{"authority", "alpn", "ssl"}
	tests := []struct {
		name          string
		cfg           proxyprotocol.Config
		protocol      config.Protocol
		client, local string
		tls           *l4.TLS
		want          string
	}{
		{"version 1", proxyprotocol.Config{Version: "1"}, config.TCP, "192.0.2.7:4711", "192.0.2.1:25", nil, "1 TCPv4 192.0.2.7:4711 192.0.2.1:25"},
		{"version 1 over IPv6", proxyprotocol.Config{Version: "1"}, config.TCP, "[2001:db8::7]:4711", "[2001:db8::1]:25", nil, "1 TCPv6 [2001:db8::7]:4711 [2001:db8::1]:25"},
		{"version 2", proxyprotocol.Config{Version: "2"}, config.TCP, "192.0.2.7:4711", "192.0.2.1:25", nil, "2 TCPv4 192.0.2.7:4711 192.0.2.1:25"},
		{"mixed families", proxyprotocol.Config{Version: "2"}, config.TCP, "192.0.2.7:4711", "[2001:db8::1]:25", nil, "2 TCPv6 192.0.2.7:4711 [2001:db8::1]:25"},
		{"datagrams", proxyprotocol.Config{Version: "2"}, config.UDP, "[fe80::7%lo]:4711", "[2001:db8::1]:53", nil, "2 UDPv6 [fe80::7]:4711 [2001:db8::1]:53"},
		{"datagrams know no version 1", proxyprotocol.Config{Version: "1"}, config.UDP, "192.0.2.7:4711", "192.0.2.1:53", nil, "2 UDPv4 192.0.2.7:4711 192.0.2.1:53"},
		{
			"extensions",
			proxyprotocol.Config{Version: "2", TLVs: all},
			config.TLS, "192.0.2.7:4711", "192.0.2.1:993", over,
			"2 TCPv4 192.0.2.7:4711 192.0.2.1:993 02=mail.test 01=imap 20=\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3\x23\x00\x16TLS_AES_128_GCM_SHA256",
		},
		{"extensions of which nothing is known", proxyprotocol.Config{Version: "2", TLVs: all}, config.TCP, "192.0.2.7:4711", "192.0.2.1:25", nil, "2 TCPv4 192.0.2.7:4711 192.0.2.1:25"},
		{"extensions that version 1 has not", proxyprotocol.Config{Version: "1", TLVs: all}, config.TLS, "192.0.2.7:4711", "192.0.2.1:993", over, "1 TCPv4 192.0.2.7:4711 192.0.2.1:993"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := header(t, tt.cfg, tt.protocol, tt.client, tt.local, tt.tls)
			if got := read(t, b); got != tt.want {
				t.Errorf("header says\n%q, want\n%q", got, tt.want)
			}
			parse := l4.ParseProxyHeader
			if tt.protocol == config.UDP {
				parse = l4.ParseProxyDatagram
			}
			if h, size, err := parse(append(b, "content"...)); err != nil || size != len(b) || !h.Client.IsValid() {
				t.Errorf("our own parser: %+v, %d of %d bytes, %v", h, size, len(b), err)
			}
		})
	}
}

// read returns what a header says: version, transport, addresses, extensions.
func read(t *testing.T, b []byte) string {
	t.Helper()
	h, err := proxyproto.Read(bufferOf(b))
	if err != nil {
		t.Fatal(err)
	}
	transport := map[proxyproto.AddressFamilyAndProtocol]string{
		proxyproto.TCPv4: "TCPv4", proxyproto.TCPv6: "TCPv6", proxyproto.UDPv4: "UDPv4", proxyproto.UDPv6: "UDPv6",
	}[h.TransportProtocol]
	said := []string{fmt.Sprint(h.Version), transport, h.SourceAddr.String(), h.DestinationAddr.String()}
	extensions, err := h.TLVs()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range extensions {
		said = append(said, fmt.Sprintf("%02x=%s", byte(e.Type), e.Value))
	}
	return strings.Join(said, " ")
}

// TestConfigErrors holds what a configuration may not be against the words that
// refuse it.
func TestConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct{ config, want string }{
		"version": {`{version: "3"}`, `version`},
		"tlv":     {`{tlvs: [netns]}`, `tlvs`},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.WantConfigError(t, "plugins: [{name: proxy-protocol, config: "+tt.config+"}]", tt.want)
		})
	}
}

func bufferOf(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
