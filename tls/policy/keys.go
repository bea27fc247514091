package policy

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// secretBytes is the size of a secret, and of what is derived from one.
const secretBytes = 32

// Keys is what keys are derived from where the configuration gives no secret. It
// is made once for a process, so that tickets outlive reloads.
type Keys struct{ secret [secretBytes]byte }

// NewKeys returns Keys that nobody else has.
func NewKeys() *Keys {
	k := new(Keys)
	_, _ = rand.Read(k.secret[:]) // never fails, by its documentation
	return k
}

// root returns the secret of the configuration, or the process's own.
func (k *Keys) root(secret string) []byte {
	if secret != "" {
		return []byte(secret)
	}
	return k.secret[:]
}

// derive returns the key for a purpose in a period (HKDF-SHA256, RFC 5869). The
// parts of its context are told apart by their lengths.
func derive(secret []byte, purpose string, period int64, context ...string) [secretBytes]byte {
	info := append([]byte("bulwark "), purpose...)
	info = binary.BigEndian.AppendUint64(info, uint64(period))
	for _, c := range context {
		info = binary.BigEndian.AppendUint64(info, uint64(len(c)))
		info = append(info, c...)
	}
	b, err := hkdf.Key(sha256.New, secret, nil, string(info), secretBytes)
	if err != nil {
		panic("BUG: deriving a key: " + err.Error())
	}
	return [secretBytes]byte(b)
}

// period returns the number of the period of a length that a time lies in. Nodes
// with the same clock agree on it.
func period(now time.Time, length time.Duration) int64 {
	return now.UnixNano() / int64(length)
}
