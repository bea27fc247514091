package l4

import (
	"net/netip"
	"strconv"

	"github.com/bulwark-edge/bulwark/tls/hello"
)

// ConnHook is implemented by plugins that act on a connection before anything
// of it is served, TLS included. Any number of connections may ask at once; the
// answer must not wait for anything.
type ConnHook interface {
	// Conn reports whether the connection is refused, which closes it.
	Conn(info *Info) (refuse bool)
}

// Info is what is known of a client connection. It is written once, before the
// first exchange, and read by any number of goroutines after that.
type Info struct {
	Listener string         // node.listeners[].name
	Client   netip.AddrPort // who opened the connection: the peer, or whom its PROXY header names
	Local    netip.AddrPort // where it was opened to: our end, or what the header names
	Peer     netip.AddrPort // the socket's other end
	TLS      *TLS           // nil on plaintext, and on TLS that is passed through
	Hello    *hello.Info    // what the client said first, if that was looked at; else nil

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

// NewInfo returns the Info of a connection between two addresses, the client's
// being the peer's. IPv4-mapped addresses are unmapped.
func NewInfo(listener string, client, local netip.AddrPort) Info {
	client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	return Info{
		Listener:  listener,
		Client:    client,
		Local:     local,
		Peer:      client,
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

// ServerName returns the host that the client asked for by SNI, in lower case,
// also of TLS that is passed through; "" if it did not or does not speak TLS.
func (i *Info) ServerName() string {
	switch {
	case i.TLS != nil:
		return i.TLS.ServerName
	case i.Hello != nil:
		return i.Hello.ServerName
	}
	return ""
}
