package issuer

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bulwark-edge/bulwark/store"
)

// Prefixes of the keys of our records.
const (
	prefixCertificates = "acme/certificates/"
	prefixFailures     = "acme/failures/"
	prefixAccounts     = "acme/accounts/"
	prefixChallenges   = "acme/challenges/"
	prefixOrders       = "acme/orders/" // names of leases
)

// endedKept is how long a certificate and its key are kept after its end, whoever
// still wants its name: until then it is served for want of a better one.
const endedKept = 30 * 24 * time.Hour

// recordKept bounds how long a record is kept: private authorities issue for times
// that no store can hold, as until the end of the year 9999.
const recordKept = 100 * 365 * 24 * time.Hour

// maxChain bounds the certificates of a chain.
const maxChain = 16

// stored is a certificate as it stands in its record. Key and chain are in one
// record, so that they always belong together.
type stored struct {
	Directory string    `json:"directory"` // of the authority
	Chain     string    `json:"chain"`
	Key       string    `json:"key"`
	Ordered   time.Time `json:"ordered"`
	Early     int       `json:"early,omitempty"` // how many in a row before it were replaced before they had settled
}

// held is a certificate at hand.
type held struct {
	stored
	pair    tls.Certificate
	leaf    *x509.Certificate
	version store.Version
}

var errBadChain = errors.New("the authority's certificates cannot be used")

// parse checks what an authority has answered, or a record holds, for a name.
func (s stored) parse(name string) (*held, error) {
	if n := strings.Count(s.Chain, "-----BEGIN "); n > maxChain {
		return nil, fmt.Errorf("%w: the chain has %d parts, more than %d", errBadChain, n, maxChain)
	}
	key, err := decodeKey(s.Key)
	if err != nil {
		return nil, err
	}
	h := &held{stored: s}
	for rest := []byte(s.Chain); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%w: there is a %q in the chain", errBadChain, block.Type)
		}
		h.pair.Certificate = append(h.pair.Certificate, block.Bytes)
	}
	if len(h.pair.Certificate) == 0 {
		return nil, fmt.Errorf("%w: there is none", errBadChain)
	}
	for i, der := range h.pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errBadChain, err)
		}
		if i == 0 {
			h.leaf = c
		}
	}
	public, ok := h.leaf.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
	if !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("%w: the first one is for another key", errBadChain)
	}
	if err := h.leaf.VerifyHostname(hostOf(name)); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadChain, err)
	}
	h.pair.PrivateKey, h.pair.Leaf = key, h.leaf
	return h, nil
}

// hostOf returns a host that a certificate for name is good for.
func hostOf(name string) string {
	if suffix, ok := strings.CutPrefix(name, "*."); ok {
		return "any." + suffix
	}
	if ip := net.ParseIP(name); ip != nil {
		return "[" + name + "]"
	}
	return name
}

func certificateKey(name string) string { return prefixCertificates + name }

// load returns what is stored for a name; nil if nothing is.
func load(ctx context.Context, records store.Records, name string) (*held, error) {
	rec, err := records.Get(ctx, certificateKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s stored
	if err := json.Unmarshal(rec.Value, &s); err != nil {
		return nil, fmt.Errorf("reading the certificate of %q: %w", name, store.ErrDamaged)
	}
	h, err := s.parse(name)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %q: %w: %w", name, store.ErrDamaged, err)
	}
	h.version = rec.Version
	return h, nil
}

// save stores a certificate under a lease, in place of whatever is stored: who
// holds the lease decides.
func save(ctx context.Context, records store.Records, name string, h *held, fence store.Fence) error {
	value, err := json.Marshal(h.stored)
	if err != nil {
		return fmt.Errorf("encoding the certificate of %q: %w", name, err)
	}
	h.version, err = replace(ctx, records, store.Record{
		Key: certificateKey(name), Value: value, Expires: earliest(h.leaf.NotAfter.Add(endedKept), time.Now().Add(recordKept)), Fence: fence,
	})
	return err
}

// replaceTries bounds how often replace is overtaken.
const replaceTries = 5

// replace puts a record in place of the one that is there, whichever it is.
func replace(ctx context.Context, records store.Records, rec store.Record) (v store.Version, err error) {
	for range replaceTries {
		old, err := records.Get(ctx, rec.Key)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrDamaged) {
			return 0, err
		}
		v, err = records.Put(ctx, rec, old.Version)
		if !errors.Is(err, store.ErrConflict) {
			return v, err
		}
	}
	return 0, fmt.Errorf("putting %q: %w", rec.Key, store.ErrConflict)
}

// remove deletes a record, whichever it is.
func remove(ctx context.Context, records store.Records, key string) error {
	for range replaceTries {
		old, err := records.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return ignoreMissing(err)
		}
		err = records.Delete(ctx, key, old.Version)
		if !errors.Is(err, store.ErrConflict) {
			return ignoreMissing(err)
		}
	}
	return fmt.Errorf("deleting %q: %w", key, store.ErrConflict)
}

func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
