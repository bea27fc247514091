package initial

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"strings"
	"testing"
)

// packet is an Initial packet as a test wants it.
type packet struct {
	version   uint32 // 0: Version1
	key       string // the id that the keys stem from; "": dcid
	dcid      string
	scid      string
	token     string
	number    uint64
	numberLen int    // 0: 4
	reserved  byte   // bits of the first byte
	frames    string // before they are padded
	size      int    // of the whole packet; 0: MinDatagram; -1: no padding
}

const testID = "\x83\x94\xc8\xf0\x3e\x51\x57\x08"

// seal returns the packet as a client would send it.
func (p packet) seal(t testing.TB) []byte {
	t.Helper()
	if p.version == 0 {
		p.version = Version1
	}
	if p.key == "" {
		p.key = p.dcid
	}
	if p.numberLen == 0 {
		p.numberLen = 4
	}
	if p.size == 0 {
		p.size = MinDatagram
	}
	first := byte(0xc0)
	if p.version == Version2 {
		first = 0xd0
	}
	b := []byte{first | p.reserved | byte(p.numberLen-1)}
	b = binary.BigEndian.AppendUint32(b, p.version)
	b = append(append(b, byte(len(p.dcid))), p.dcid...)
	b = append(append(b, byte(len(p.scid))), p.scid...)
	b = append(append(b, varint(uint64(len(p.token)))...), p.token...)
	payload := p.frames
	if pad := p.size - (len(b) + 2 + p.numberLen + len(payload) + tagBytes); pad > 0 {
		payload += strings.Repeat("\x00", pad)
	}
	length := p.numberLen + len(payload) + tagBytes
	b = append(b, 0x40|byte(length>>8), byte(length))
	at := len(b)
	b = append(b, binary.BigEndian.AppendUint32(nil, uint32(p.number))[4-p.numberLen:]...)

	s, err := derive(p.version, []byte(p.key))
	if err != nil {
		t.Fatal(err)
	}
	nonce := s.iv[:]
	for i, c := range binary.BigEndian.AppendUint64(nil, p.number) {
		nonce[4+i] ^= c
	}
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	b = aead.Seal(b, nonce, []byte(payload), b)

	protection, err := aes.NewCipher(s.protection[:])
	if err != nil {
		t.Fatal(err)
	}
	var mask [aes.BlockSize]byte
	protection.Encrypt(mask[:], b[at+maxNumber:][:sampleBytes])
	b[0] ^= mask[0] & 0x0f
	for i := range p.numberLen {
		b[at+i] ^= mask[1+i]
	}
	return b
}

// varint returns n as RFC 9000 section 16 writes it, in the fewest bytes.
func varint(n uint64) string {
	switch {
	case n < 1<<6:
		return string([]byte{byte(n)})
	case n < 1<<14:
		return string(binary.BigEndian.AppendUint16(nil, uint16(n)|1<<14))
	case n < 1<<30:
		return string(binary.BigEndian.AppendUint32(nil, uint32(n)|2<<30))
	}
	return string(binary.BigEndian.AppendUint64(nil, n|3<<62))
}

// cryptoFrame returns a CRYPTO frame.
func cryptoFrame(offset int, data string) string {
	return "\x06" + varint(uint64(offset)) + varint(uint64(len(data))) + data
}

// vector16 returns s behind its length.
func vector16(s string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s
}

// extension returns one of a hello.
func extension(kind uint16, data string) string {
	return string(binary.BigEndian.AppendUint16(nil, kind)) + vector16(data)
}

// helloFor returns a ClientHello of at least n bytes.
func helloFor(name string, n int) string {
	extensions := extension(0, vector16("\x00"+vector16(name))) + extension(16, vector16("\x02h3")) +
		extension(43, "\x02\x03\x04") + extension(57, "")
	body := func(pad int) string {
		var keys strings.Builder // bytes that differ, so that what is misplaced shows
		for i := range pad {
			keys.WriteByte(byte(i*7 + i>>8))
		}
		return "\x03\x03" + strings.Repeat("r", 32) + "\x00" + vector16("\x13\x01") + "\x01\x00" +
			vector16(extensions+extension(51, keys.String()))
	}
	b := body(0)
	if pad := n - 4 - len(b); pad > 0 {
		b = body(pad)
	}
	return string([]byte{1, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}) + b
}

// TestSealed holds the tests' own sealing to what it is to be the inverse of.
func TestSealed(t *testing.T) {
	p := packet{dcid: testID, scid: "s", token: "token", number: 7, numberLen: 1, frames: "\x01"}
	b := p.seal(t)
	if len(b) != MinDatagram {
		t.Fatalf("%d bytes", len(b))
	}
	h, err := ParseHeader(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOpener(h.Version, h.DCID)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b)
	frames, err := o.open(b, &h)
	if err != nil || !bytes.HasPrefix(frames, []byte("\x01\x00\x00")) || o.largest != 7 {
		t.Errorf("got %.10x, packet %d, error %v", frames, o.largest, err)
	}
	if !bytes.Equal(b, before) {
		t.Error("opening has changed the datagram")
	}
}
