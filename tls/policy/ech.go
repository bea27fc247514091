package policy

import (
	"crypto/ecdh"
	"crypto/tls"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// ECH derives the keys of Encrypted Client Hello (RFC 9849). Those of one period
// follow from a secret, the period's number and the public name, so that nodes
// with one secret have the same. It is safe for concurrent use.
type ECH struct {
	secret     []byte
	rotate     time.Duration
	publicName string
	keys       atomic.Pointer[echKeys]
}

// echKeys are the keys that are good in a period.
type echKeys struct {
	period int64
	list   []tls.EncryptedClientHelloKey // the first is the one that is offered
}

// NewECH returns the keys of a secret, "" for that of the process, and of periods
// of rotate.
func NewECH(k *Keys, publicName, secret string, rotate time.Duration) *ECH {
	return &ECH{secret: k.root(secret), rotate: rotate, publicName: publicName}
}

// put lets a configuration of crypto/tls read encrypted hellos. On nil it does
// nothing.
func (e *ECH) put(c *tls.Config) {
	if e != nil {
		c.GetEncryptedClientHelloKeys = e.get
	}
}

func (e *ECH) get(*tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
	return e.at(time.Now()).list, nil
}

// PublicName returns the server name that encrypted hellos show in clear.
func (e *ECH) PublicName() string { return e.publicName }

// ConfigList returns the ECHConfigList of what is offered at a time: the value
// of the SvcParamKey "ech" in an HTTPS record (RFC 9848), before base64.
func (e *ECH) ConfigList(now time.Time) []byte {
	c := e.at(now).list[0].Config
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(c))), c...)
}

// Until returns when another key than that of now will be offered.
func (e *ECH) Until(now time.Time) time.Time {
	return time.Unix(0, (period(now, e.rotate)+1)*int64(e.rotate))
}

// at returns the keys for a time: that of its period, which is offered, that of
// the one before, and that of the next, for clients of nodes whose clock is
// ahead.
func (e *ECH) at(now time.Time) *echKeys {
	p := period(now, e.rotate)
	if k := e.keys.Load(); k != nil && k.period == p {
		return k
	}
	k := &echKeys{period: p}
	for _, q := range [...]int64{p, p - 1, p + 1} {
		k.list = append(k.list, e.key(q, q == p))
	}
	e.keys.Store(k)
	return k
}

// Numbers of RFC 9849 section 4 and RFC 9180 section 7.
const (
	echVersion      = 0xfe0d
	hpkeX25519      = 0x0020 // DHKEM(X25519, HKDF-SHA256)
	hpkeHKDFSHA256  = 0x0001
	hpkeAES128GCM   = 0x0001
	hpkeChaCha20    = 0x0003
	echMaxNameBytes = 64 // up to which clients hide how long a name is
)

// key makes the key of a period.
func (e *ECH) key(period int64, offered bool) tls.EncryptedClientHelloKey {
	seed := derive(e.secret, "encrypted client hello", period, e.publicName)
	private, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		panic("BUG: making a key of 32 bytes: " + err.Error())
	}
	be := binary.BigEndian
	public := private.PublicKey().Bytes()
	// HpkeKeyConfig. The id only has to differ from that of neighbours.
	c := []byte{byte(period)}
	c = be.AppendUint16(c, hpkeX25519)
	c = append(be.AppendUint16(c, uint16(len(public))), public...)
	c = be.AppendUint16(c, 8)
	for _, aead := range [...]uint16{hpkeAES128GCM, hpkeChaCha20} {
		c = be.AppendUint16(be.AppendUint16(c, hpkeHKDFSHA256), aead)
	}
	// ECHConfigContents, the rest.
	c = append(c, echMaxNameBytes, byte(len(e.publicName)))
	c = append(c, e.publicName...)
	c = be.AppendUint16(c, 0) // no extensions
	config := be.AppendUint16(nil, echVersion)
	config = append(be.AppendUint16(config, uint16(len(c))), c...)
	return tls.EncryptedClientHelloKey{Config: config, PrivateKey: private.Bytes(), SendAsRetry: offered}
}
