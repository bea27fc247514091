package l4

import (
	"crypto/x509"
	"net/netip"
	"strconv"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/tls/hello"
	"github.com/bulwark-edge/bulwark/tls/peer"
	"github.com/bulwark-edge/bulwark/tls/policy"
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

// TLS is what the handshake settled. It is not copied.
type TLS struct {
	Version    string // "TLSv1.3", as Kong logs it
	Cipher     string // IANA name of the suite
	ServerName string // SNI in lower case, "" if the client sent none; with ECH the encrypted one
	Protocol   string // ALPN, "" if none
	Resumed    bool   // a session was resumed, by its ticket
	ECH        bool   // the hello was encrypted, and we could read it
	Policy     string // name of the policy of node.tls; set if Client is
	ClientAuth string // policy.ClientAuth.Key of what the handshake asked, "" if nothing

	// Asked tells that the client was asked for a certificate. Chain is what it
	// showed, leaf first, NOT verified; nil if it showed none. A session that is
	// resumed brings the chain that it began with.
	Asked bool
	Chain []*x509.Certificate

	Memo Memo // what plugins have worked out of it

	// Client is what the policy of the listener knows of the client, nil if no
	// request needs to be held against it.
	Client *policy.Client

	verdict atomic.Pointer[string] // see SetClientVerify
}

// Texts of TLS.ClientVerify, as nginx has them in $ssl_client_verify. One that
// begins with VerifyFailed goes on with the reason.
const (
	VerifyNone    = "NONE"
	VerifySuccess = "SUCCESS"
	VerifyFailed  = "FAILED:"
)

// verifyNobody is what is told of a certificate that nobody has judged.
const verifyNobody = VerifyFailed + "not verified"

// SetClientVerify sets what logs tell of the client's certificate: VerifySuccess
// or VerifyFailed with a reason. Any goroutine may call it.
func (t *TLS) SetClientVerify(verdict string) { t.verdict.Store(&verdict) }

// ClientVerify returns what logs tell of the client's certificate.
func (t *TLS) ClientVerify() string {
	switch v := t.verdict.Load(); {
	case v != nil:
		return *v
	case len(t.Chain) > 0:
		return verifyNobody
	}
	return VerifyNone
}

// Identity returns who the client is, if a policy has verified that; else nil.
func (t *TLS) Identity() *peer.Identity {
	if t.Client == nil {
		return nil
	}
	return t.Client.Identity()
}

// Shown reports whether the client has shown a certificate, verified or not: by
// another configuration it may be refused for it.
func (t *TLS) Shown() bool { return len(t.Chain) > 0 || t.Identity() != nil }

// Judged reports whether the client was asked for a certificate, so that another
// configuration may refuse it for what it has shown, or for having shown none. On nil
// it is false.
func (t *TLS) Judged() bool { return t != nil && (t.Asked || t.Shown()) }

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
