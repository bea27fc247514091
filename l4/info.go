package l4

import (
	"net/netip"
	"strconv"
)

// Info is what is known of a client connection. It is written once, before the
// first exchange, and read by any number of goroutines after that.
type Info struct {
	Listener string         // node.listeners[].name
	Client   netip.AddrPort // the peer, an IPv4-mapped address unmapped
	Local    netip.AddrPort // our end
	TLS      *TLS           // nil on plaintext

	// Texts made once for a connection's many exchanges.
	ClientIP  string // Client's address
	LocalPort string // Local's port
}

// TLS is what the handshake settled.
type TLS struct {
	Version    string // "TLSv1.3", as Kong logs it
	Cipher     string // IANA name of the suite
	ServerName string // SNI in lower case, "" if the client sent none
	Protocol   string // ALPN, "" if none
}

// NewInfo returns the Info of a connection between two addresses.
func NewInfo(listener string, client, local netip.AddrPort) Info {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	return Info{
		Listener:  listener,
		Client:    client,
		Local:     local,
		ClientIP:  client.Addr().WithZone("").String(),
		LocalPort: strconv.Itoa(int(local.Port())),
	}
}

// Scheme returns "https" or "http".
func (i *Info) Scheme() string {
	if i.TLS != nil {
		return "https"
	}
	return "http"
}
