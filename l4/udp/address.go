package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// address is a socket address in the kernel's form: sockaddr_in or
// sockaddr_in6.
type address struct {
	b [unix.SizeofSockaddrInet6]byte
	n uint8 // bytes of b that count; 0: none
}

// key names a flow: where its datagrams come from and, on a wildcard socket,
// where they go to. It is plain bytes, which are quick to hash. IPv4 addresses
// stand as IPv6 ones that they are mapped to.
type key struct {
	client [16]byte
	local  [16]byte // zero on a socket that has one address
	scope  uint32   // of a link-local client
	port   uint32   // the client's
}

// keyOf reads the client's half of a key from an address as received.
func keyOf(k *key, a *address, n int) bool {
	switch {
	case n == unix.SizeofSockaddrInet4 && binary.NativeEndian.Uint16(a.b[:]) == unix.AF_INET:
		k.client = [16]byte{10: 0xff, 11: 0xff, 12: a.b[4], 13: a.b[5], 14: a.b[6], 15: a.b[7]}
		k.scope = 0
	case n == unix.SizeofSockaddrInet6 && binary.NativeEndian.Uint16(a.b[:]) == unix.AF_INET6:
		copy(k.client[:], a.b[8:24])
		k.scope = binary.NativeEndian.Uint32(a.b[24:])
	default:
		return false
	}
	k.port = uint32(binary.BigEndian.Uint16(a.b[2:]))
	return k.port != 0 // no answer could be sent to port 0
}

func (k *key) clientAddr() netip.AddrPort {
	a := netip.AddrFrom16(k.client).Unmap()
	if k.scope != 0 && a.Is6() {
		a = a.WithZone(zoneName(k.scope))
	}
	return netip.AddrPortFrom(a, uint16(k.port))
}

// zoneName returns the name of an interface, which is what netip has as zone.
func zoneName(index uint32) string {
	if ifi, err := net.InterfaceByIndex(int(index)); err == nil {
		return ifi.Name
	}
	return strconv.Itoa(int(index))
}

func zoneIndex(zone string) uint32 {
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	n, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// addressOf puts an address into the form of a socket of the family.
func addressOf(ap netip.AddrPort, family int) (a address) {
	binary.BigEndian.PutUint16(a.b[2:], ap.Port())
	ip := ap.Addr()
	if family == unix.AF_INET {
		binary.NativeEndian.PutUint16(a.b[:], unix.AF_INET)
		v4 := ip.Unmap().As4()
		copy(a.b[4:], v4[:])
		a.n = unix.SizeofSockaddrInet4
		return a
	}
	binary.NativeEndian.PutUint16(a.b[:], unix.AF_INET6)
	v6 := ip.As16()
	copy(a.b[8:], v6[:])
	if zone := ip.Zone(); zone != "" {
		binary.NativeEndian.PutUint32(a.b[24:], zoneIndex(zone))
	}
	a.n = unix.SizeofSockaddrInet6
	return a
}

// sockaddrOf is addressOf for the calls of package unix.
func sockaddrOf(ap netip.AddrPort) (sa unix.Sockaddr, family int) {
	if ip := ap.Addr().Unmap(); ip.Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ip.As4()}, unix.AF_INET
	}
	s := &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}
	if zone := ap.Addr().Zone(); zone != "" {
		s.ZoneId = zoneIndex(zone)
	}
	return s, unix.AF_INET6
}
