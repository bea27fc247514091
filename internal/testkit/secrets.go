package testkit

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// Secrets are what nobody may be told: keys, as PEM or as the numbers in them, and
// other texts.
type Secrets struct{ parts []string }

// secretPart is how much of a key is looked for, in characters of Base64: none
// stands anywhere by chance.
const secretPart = 12

// commonStart is up to where all keys of a kind are alike, in such characters.
var commonStart = map[string]int{"PRIVATE KEY": 52, "EC PRIVATE KEY": 12, "RSA PRIVATE KEY": 20}

// AddKey adds a key, and returns it as PEM.
func (s *Secrets) AddKey(t testing.TB, key crypto.Signer) (text string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	s.AddPEM(t, text)
	return text
}

// AddPEM adds all keys of a text.
func (s *Secrets) AddPEM(t testing.TB, text string) {
	t.Helper()
	found := false
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		found = true
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			key, err = x509.ParseECPrivateKey(block.Bytes)
		}
		if err != nil {
			t.Fatal(err)
		}
		private := block.Bytes
		switch key := key.(type) {
		case *ecdsa.PrivateKey:
			b, err := key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			s.addNumber(new(big.Int).SetBytes(b))
			// The public key follows, which certificates tell.
			private = private[:bytes.Index(private, b)+len(b)]
		case *rsa.PrivateKey:
			s.addNumber(key.D)
			s.addNumber(key.Primes[0])
		}
		body := base64.RawStdEncoding.EncodeToString(private)
		for part := range slices.Chunk([]byte(body[commonStart[block.Type]:]), secretPart) {
			if len(part) == secretPart {
				s.parts = append(s.parts, string(part))
			}
		}
	}
	if !found {
		t.Fatal("there is no key in the text")
	}
}

func (s *Secrets) addNumber(n *big.Int) { s.parts = append(s.parts, n.String(), n.Text(16)) }

// Add adds a text as it is.
func (s *Secrets) Add(text string) { s.parts = append(s.parts, text) }

// WantIn fails the test unless a text tells a secret, so that it is known to be
// found where it stands.
func (s *Secrets) WantIn(t testing.TB, what, text string) {
	t.Helper()
	if _, ok := s.find(text); !ok {
		t.Errorf("%s does not hold any secret", what)
	}
}

// WantOut fails the test if a text tells a secret.
func (s *Secrets) WantOut(t testing.TB, what, text string) {
	t.Helper()
	if part, ok := s.find(text); ok {
		t.Errorf("%s tells %q:\n%s", what, part, text)
	}
}

// lineEnds are what stands between the lines of a key, as it is and quoted.
var lineEnds = strings.NewReplacer("\n", "", `\n`, "", "\r", "", `\r`, "")

func (s *Secrets) find(text string) (part string, ok bool) {
	joined := lineEnds.Replace(text)
	lower := strings.ToLower(text)
	for _, part := range s.parts {
		if strings.Contains(joined, part) || strings.Contains(lower, part) {
			return part, true
		}
	}
	return "", false
}
