package udp

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Room for control messages: a datagram's local address and the size of its
// segments.
const (
	headBytes    = unix.SizeofCmsghdr
	receiveRoom  = 128
	sourceRoom   = 40 // a header and in6_pktinfo, aligned
	segmentRoom  = 24 // a header and a uint16, aligned
	sendRoom     = sourceRoom + segmentRoom
	headOfLength = headBytes - 8 // where level and type begin
)

// control is what the kernel tells beside a datagram.
type control struct {
	segment int      // 0: it is one datagram
	local   [16]byte // where it was sent to
	ifindex uint32
	located bool // local is set
}

// parse reads control messages; false: they are malformed.
func (c *control) parse(b []byte) bool {
	*c = control{}
	for len(b) >= headBytes {
		length := int(nativeLength(b))
		if length < headBytes || length > len(b) {
			return false
		}
		level := int32(binary.NativeEndian.Uint32(b[headOfLength:]))
		kind := int32(binary.NativeEndian.Uint32(b[headOfLength+4:]))
		if !c.take(level, kind, b[headBytes:length]) {
			return false
		}
		b = b[min(unix.CmsgSpace(length-headBytes), len(b)):]
	}
	return len(b) == 0
}

func (c *control) take(level, kind int32, data []byte) bool {
	switch {
	case level == unix.SOL_UDP && kind == unix.UDP_GRO && len(data) >= 2:
		// The kernel writes an int; its documents once said uint16.
		c.segment = int(binary.NativeEndian.Uint16(data))
		if len(data) >= 4 {
			c.segment = int(int32(binary.NativeEndian.Uint32(data)))
		}
		return c.segment >= 0
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		c.local = [16]byte{10: 0xff, 11: 0xff, 12: data[4], 13: data[5], 14: data[6], 15: data[7]}
		c.located = true
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		copy(c.local[:], data)
		c.ifindex = binary.NativeEndian.Uint32(data[16:])
		c.located = true
	}
	return true
}

// putSource writes the control message that lets a datagram leave from local,
// and returns its length; 0: the system is to choose, as it must for what came
// to a multicast address.
func putSource(b []byte, family int, local [16]byte, ifindex uint32) int {
	if family == unix.AF_INET {
		putHead(b, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		data := b[headBytes:]
		clear(data[:unix.SizeofInet4Pktinfo])
		copy(data[4:8], local[12:])
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	if local[0] == 0xff {
		return 0
	}
	putHead(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	data := b[headBytes:]
	copy(data, local[:])
	if local[0] != 0xfe || local[1]&0xc0 != 0x80 {
		ifindex = 0 // only a link-local address needs one
	}
	binary.NativeEndian.PutUint32(data[16:], ifindex)
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}

// putSegment writes the control message UDP_SEGMENT and returns its length.
func putSegment(b []byte, size int) int {
	putHead(b, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	binary.NativeEndian.PutUint16(b[headBytes:], uint16(size))
	return unix.CmsgSpace(2)
}

func putHead(b []byte, level, kind uint32, data int) {
	putNativeLength(b, uint64(unix.CmsgLen(data)))
	binary.NativeEndian.PutUint32(b[headOfLength:], level)
	binary.NativeEndian.PutUint32(b[headOfLength+4:], kind)
}

// The length of a control message is a size_t.
func nativeLength(b []byte) uint64 {
	if headOfLength == 4 {
		return uint64(binary.NativeEndian.Uint32(b))
	}
	return binary.NativeEndian.Uint64(b)
}

func putNativeLength(b []byte, n uint64) {
	if headOfLength == 4 {
		binary.NativeEndian.PutUint32(b, uint32(n))
		return
	}
	binary.NativeEndian.PutUint64(b, n)
}
