package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bulwark-edge/bulwark/config"
)

// How long what an Authority signs is valid. Leaves are made anew when a third
// of their life is left.
const (
	rootLife = 10 * 365 * 24 * time.Hour
	leafLife = 7 * 24 * time.Hour
	backDate = time.Hour // for clients whose clock is behind
)

// maxLeaves bounds the leaves an Authority keeps: a client may ask for any name
// that a wildcard covers.
const maxLeaves = 1024

// Names of an Authority's files.
const (
	rootFile = "root.crt"
	keyFile  = "root.key"
	lockFile = "lock"
)

// Authority is a certificate authority for development, whose root stands in a
// folder. It makes certificates for names as clients ask for them, all of them
// under config.LocalSuffixes. These stand in the root as name constraints, so
// that whoever steals its key has gained nothing beyond them. Any number of
// goroutines may use it.
type Authority struct {
	names patterns
	root  *x509.Certificate
	key   *ecdsa.PrivateKey
	now   func() time.Time

	mu     sync.Mutex
	leaves map[string]*leaf // by name
}

type leaf struct {
	once  sync.Once
	cert  *tls.Certificate
	err   error
	renew time.Time
}

// OpenAuthority opens the authority in a folder for some names, exact ones or
// "*.suffix", and makes its root if it is not there. Several processes may do so
// at once: they get the same root. A root that is damaged, or not ours to use,
// is an error and stays as it is.
func OpenAuthority(dir string, names []string) (*Authority, error) {
	for _, n := range names {
		if !config.LocalName(n) {
			return nil, fmt.Errorf("the local authority does not sign for %q; expected a name under %s", n, strings.Join(config.LocalSuffixes, ", "))
		}
	}
	root, key, err := openRoot(dir, time.Now())
	if err != nil {
		return nil, fmt.Errorf("opening the local authority in %s: %w", dir, err)
	}
	return &Authority{
		names: newPatterns(names), root: root, key: key,
		now: time.Now, leaves: make(map[string]*leaf),
	}, nil
}

// RootPath returns where the root certificate of the authority in a folder
// stands, in PEM form.
func RootPath(dir string) string { return filepath.Join(dir, rootFile) }

// Root returns the root. The caller must not change it.
func (a *Authority) Root() *x509.Certificate { return a.root }

// Covers reports whether the authority answers for a server name in lower case.
func (a *Authority) Covers(name string) bool { return a.names.match(name) }

// GetCertificate is as in tls.Config; it returns nil for names that are not the
// authority's.
func (a *Authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if !a.Covers(name) || !hostName(name) {
		return nil, nil
	}
	now := a.now()
	a.mu.Lock()
	l := a.leaves[name]
	if l == nil || !now.Before(l.renew) {
		if l == nil && len(a.leaves) >= maxLeaves {
			a.forgetOne()
		}
		l = &leaf{renew: now.Add(leafLife - leafLife/3)}
		a.leaves[name] = l
	}
	a.mu.Unlock()
	l.once.Do(func() { l.cert, l.err = a.sign(name, now) })
	return l.cert, l.err
}

// hostName reports whether a name in lower case is one that a host may have
// (RFC 1123 section 2.1). Clients ask for anything.
func hostName(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// forgetOne makes room for a leaf. Any will do: it is soon made again.
func (a *Authority) forgetOne() {
	for name := range a.leaves {
		delete(a.leaves, name)
		return
	}
}

func (a *Authority) sign(name string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key for %s: %w", name, err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"Bulwark local"}},
		DNSNames:    []string{name},
		NotBefore:   now.Add(-backDate),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if name == "localhost" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	c, err := signed(template, a.root, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing for %s: %w", name, err)
	}
	return &tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}, nil
}

// signed makes a certificate for key, signed with by, which belongs to parent.
func signed(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// openRoot reads the root of a folder, or makes it. A lock keeps other processes
// from doing so meanwhile; it ends with the process that holds it.
func openRoot(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, nil, fmt.Errorf("locking: %w", err)
	}
	root, key, err := readRoot(dir, now)
	if !errors.Is(err, fs.ErrNotExist) {
		return root, key, err
	}
	return makeRoot(dir, now)
}

// readRoot returns an error that is fs.ErrNotExist only if there is no root at
// all. A key without its certificate, as after a crash, is no root.
func readRoot(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(RootPath(dir))
	if err != nil {
		return nil, nil, err
	}
	secret, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, nil, fmt.Errorf("the key of the root: %s", err)
	}
	pair, err := tls.X509KeyPair(text, secret)
	if err != nil {
		return nil, nil, fmt.Errorf("the root and its key: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return nil, nil, errors.New("the root's key is of another kind; expected one of ECDSA")
	case !pair.Leaf.IsCA || !pair.Leaf.PermittedDNSDomainsCritical:
		return nil, nil, errors.New("the root is not one that this authority made; remove both files to have a new one")
	case now.After(pair.Leaf.NotAfter):
		return nil, nil, fmt.Errorf("the root ended on %s; remove both files to have a new one", pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return pair.Leaf, key, nil
}

func makeRoot(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	template := &x509.Certificate{
		Subject:        pkix.Name{CommonName: "Bulwark local authority of " + host, Organization: []string{"Bulwark local"}},
		NotBefore:      now.Add(-backDate),
		NotAfter:       now.Add(rootLife),
		KeyUsage:       x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:           true,
		MaxPathLenZero: true,

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         config.LocalSuffixes,
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	root, err := signed(template, template, key, key)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	// The certificate comes last: without it there is no root.
	if err := writeWhole(filepath.Join(dir, keyFile), 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}); err != nil {
		return nil, nil, err
	}
	if err := writeWhole(RootPath(dir), 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}); err != nil {
		return nil, nil, err
	}
	return root, key, nil
}

// writeWhole writes a file so that it is there whole or not at all.
func writeWhole(path string, mode fs.FileMode, block *pem.Block) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = errors.Join(f.Chmod(mode), pem.Encode(f, block), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
