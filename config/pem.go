package config

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Validate parses the pairs and checks that they fit.
func (c *Certificate) Validate(r *schema.Report) {
	if (c.CertAlt == "") == c.KeyAlt.Empty() {
		c.pairs = nil
	} else if !r.Bad("cert_alt") && !r.Bad("key_alt") {
		r.Fail("all or none of these fields must be set: 'cert_alt', 'key_alt'")
	}
	first, ok := parsePair(r, c.Cert, c.Key.Reveal(), "cert", "key", "certificate does not match key")
	if ok {
		c.pairs = append(c.pairs, first)
	}
	second, alt := parsePair(r, c.CertAlt, c.KeyAlt.Reveal(), "cert_alt", "key_alt", "alternative certificate does not match key")
	if !alt || !ok {
		return
	}
	c.pairs = append(c.pairs, second)
	if first.Leaf.PublicKeyAlgorithm == second.Leaf.PublicKeyAlgorithm {
		r.Fail("certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), "+
			"the provided certificates were both of the same type", "cert_alt")
	}
}

// parsePair reads a certificate and its key; an empty one has been reported.
func parsePair(r *schema.Report, cert, key, certField, keyField, mismatch string) (pair tls.Certificate, ok bool) {
	var certErr, keyErr error
	if cert != "" {
		if pair, certErr = parseChain(cert); certErr != nil {
			r.Expect("invalid certificate: "+certErr.Error(), "a certificate in PEM form", certField)
		}
	}
	var private crypto.Signer
	if key != "" {
		if private, keyErr = parseKey(key); keyErr != nil {
			r.Expect("invalid key: "+keyErr.Error(), "an unencrypted private key in PEM form", keyField)
		}
	}
	if cert == "" || key == "" || certErr != nil || keyErr != nil {
		return pair, false
	}
	public, comparable := pair.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !comparable || !public.Equal(private.Public()) {
		r.Fail(mismatch, keyField)
		return pair, false
	}
	pair.PrivateKey = private
	return pair, true
}

// parseChain reads a certificate and what follows it.
func parseChain(text string) (pair tls.Certificate, err error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return pair, err
		}
		if pair.Leaf == nil {
			pair.Leaf = c
		}
		pair.Certificate = append(pair.Certificate, block.Bytes)
	}
	if pair.Leaf == nil {
		return pair, errors.New("no PEM block of type CERTIFICATE")
	}
	return pair, nil
}

// parseKey reads a private key in any of the usual encodings.
func parseKey(text string) (crypto.Signer, error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("the key is encrypted")
			}
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			if block.Headers["DEK-Info"] != "" {
				return nil, errors.New("the key is encrypted")
			}
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("the key is encrypted")
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		switch k := key.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return k, nil
		}
		return nil, errors.New("the key is of a kind that TLS does not use")
	}
	return nil, errors.New("no PEM block of type PRIVATE KEY")
}

// Validate parses the certificate and fills in its digest.
func (c *CACertificate) Validate(r *schema.Report) {
	if c.Cert == "" {
		return
	}
	if bytes.Count([]byte(c.Cert), []byte("-----BEGIN CERTIFICATE-----")) > 1 {
		r.Fail("please submit only one certificate at a time", "cert")
		return
	}
	pair, err := parseChain(c.Cert)
	if err != nil {
		r.Expect("invalid certificate: "+err.Error(), "a certificate in PEM form", "cert")
		return
	}
	switch {
	case pair.Leaf.NotAfter.Before(time.Now()):
		r.Fail(`certificate expired, "Not After" time is in the past`, "cert")
	case !pair.Leaf.IsCA:
		r.Fail(`certificate does not appear to be a CA because it is missing the "CA" basic constraint`, "cert")
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	digest := hex.EncodeToString(sum[:])
	if c.CertDigest != "" && c.CertDigest != digest {
		r.Fail("value must be "+digest, "cert_digest")
	}
	c.CertDigest, c.parsed = digest, pair.Leaf
}
