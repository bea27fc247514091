package initial

// The frames that are looked for in an Initial packet of a client (RFC 9000
// section 12.4).
const (
	framePadding = 0x00
	framePing    = 0x01
	frameACK     = 0x02
	frameACKECN  = 0x03
	frameCrypto  = 0x06
)

// frames goes through the frames of a packet and calls crypto for each piece of
// the handshake. Frames other than the five above have no place in an Initial
// packet, or are one in which the client says that it gives up.
func frames(b []byte, crypto func(offset uint64, data []byte) error) error {
	if len(b) == 0 { // RFC 9000 section 12.4
		return fault("it has no frames")
	}
	for in := input(b); len(in) > 0; {
		kind := in[0]
		in = in[1:]
		switch kind {
		case framePadding, framePing:
		case frameACK, frameACKECN:
			if err := skipACK(&in, kind == frameACKECN); err != nil {
				return err
			}
		case frameCrypto:
			var offset, n uint64
			var data []byte
			if !in.varint(&offset) || !in.varint(&n) || n > uint64(len(in)) {
				return fault("a CRYPTO frame is cut off")
			}
			in.take(&data, int(n))
			if err := crypto(offset, data); err != nil {
				return err
			}
		default:
			return fault("a frame has no place in a client's Initial packet")
		}
	}
	return nil
}

// skipACK reads the rest of an ACK frame (RFC 9000 section 19.3).
func skipACK(in *input, ecn bool) error {
	var smallest, delay, ranges, first uint64
	if !in.varint(&smallest) || !in.varint(&delay) || !in.varint(&ranges) || !in.varint(&first) {
		return fault("an ACK frame is cut off")
	}
	if first > smallest {
		return fault("an ACK frame goes below packet 0")
	}
	smallest -= first
	for range ranges { // each takes bytes, so there is an end
		var gap, length uint64
		if !in.varint(&gap) || !in.varint(&length) {
			return fault("an ACK frame is cut off")
		}
		if gap+2+length > smallest {
			return fault("an ACK frame goes below packet 0")
		}
		smallest -= gap + 2 + length
	}
	if ecn {
		var ect0, ect1, ce uint64
		if !in.varint(&ect0) || !in.varint(&ect1) || !in.varint(&ce) {
			return fault("an ACK frame is cut off")
		}
	}
	return nil
}
