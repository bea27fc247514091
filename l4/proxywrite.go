package l4

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// ProxyVersion is a version of the PROXY protocol.
type ProxyVersion uint8

// The versions. Version 1 is a line of text and knows only TCP.
const (
	ProxyV1 ProxyVersion = 1
	ProxyV2 ProxyVersion = 2
)

// ProxyExtension is a type of extension (TLV) of a header of version 2.
type ProxyExtension uint8

// The types, by proxy-protocol.txt section 2.2.
const (
	ProxyALPN      ProxyExtension = 0x01 // the protocol that was agreed upon
	ProxyAuthority ProxyExtension = 0x02 // the name the client asked for (SNI)
	proxySSL       ProxyExtension = 0x20 // what is known of TLS, with what follows in it
	proxySSLVer    ProxyExtension = 0x21
	proxySSLCN     ProxyExtension = 0x22 // the common name of the client's certificate
	proxySSLCipher ProxyExtension = 0x23
)

// The bits of proxySSL that say that the client came over TLS, that it has shown a
// certificate on this connection, and that it had shown one when the session
// began.
const (
	proxyClientSSL         = 0x01
	proxyClientCertConn    = 0x02
	proxyClientCertSession = 0x04
)

// What proxySSL says of the client's certificate: that it was verified, or that it
// was not.
const (
	proxyVerified   = 0
	proxyUnverified = 1
)

// AppendProxyHeader appends the header that tells an upstream who the client is
// and where it came to: of version 1 for TCP only, of version 2 for either. If
// one address is IPv4 and the other IPv6 both are written as IPv6.
func AppendProxyHeader(b []byte, version ProxyVersion, datagram bool, client, local netip.AddrPort, extensions []byte) []byte {
	is4 := client.Addr().Is4() && local.Addr().Is4()
	if version == ProxyV1 {
		return appendProxyLine(b, is4, client, local)
	}
	n := 16
	family := byte(proxyIPv6)
	if is4 {
		n, family = 4, proxyIPv4
	}
	if datagram {
		family |= proxyDatagram
	} else {
		family |= proxyStream
	}
	b = append(append(b, proxySignature...), proxyProxy, family)
	b = binary.BigEndian.AppendUint16(b, uint16(2*n+4+len(extensions)))
	b = appendProxyAddr(b, is4, client.Addr())
	b = appendProxyAddr(b, is4, local.Addr())
	b = binary.BigEndian.AppendUint16(b, client.Port())
	b = binary.BigEndian.AppendUint16(b, local.Port())
	return append(b, extensions...)
}

func appendProxyLine(b []byte, is4 bool, client, local netip.AddrPort) []byte {
	word := "TCP6 "
	if is4 {
		word = "TCP4 "
	}
	b = append(append(b, proxyLineStart...), word...)
	for _, a := range []netip.Addr{client.Addr(), local.Addr()} {
		if !is4 {
			a = netip.AddrFrom16(a.As16()) // also drops a zone, which means nothing elsewhere
		}
		b = append(a.AppendTo(b), ' ')
	}
	b = append(strconv.AppendUint(b, uint64(client.Port()), 10), ' ')
	return append(strconv.AppendUint(b, uint64(local.Port()), 10), '\r', '\n')
}

func appendProxyAddr(b []byte, is4 bool, a netip.Addr) []byte {
	if is4 {
		four := a.As4()
		return append(b, four[:]...)
	}
	sixteen := a.As16()
	return append(b, sixteen[:]...)
}

// AppendProxyExtension appends an extension for AppendProxyHeader. A value that
// is too long to be told is left out.
func AppendProxyExtension(b []byte, kind ProxyExtension, value string) []byte {
	if len(value) > maxProxyHeader/4 {
		return b
	}
	b = binary.BigEndian.AppendUint16(append(b, byte(kind)), uint16(len(value)))
	return append(b, value...)
}

// AppendProxyTLS appends the extension that tells what a handshake with the
// client has settled. The common name is told only of a certificate that a policy
// has verified.
func AppendProxyTLS(b []byte, t *TLS) []byte {
	at := len(b)
	client, verify := byte(proxyClientSSL), uint32(proxyUnverified)
	if len(t.Chain) > 0 {
		client |= proxyClientCertSession
		if !t.Resumed {
			client |= proxyClientCertConn
		}
	}
	who := t.Identity()
	if who != nil {
		verify = proxyVerified
	}
	b = append(b, byte(proxySSL), 0, 0, client)
	b = binary.BigEndian.AppendUint32(b, verify)
	b = AppendProxyExtension(b, proxySSLVer, t.Version)
	b = AppendProxyExtension(b, proxySSLCipher, t.Cipher)
	if who != nil && who.Names.CommonName != "" {
		b = AppendProxyExtension(b, proxySSLCN, who.Names.CommonName)
	}
	binary.BigEndian.PutUint16(b[at+1:], uint16(len(b)-at-3))
	return b
}
