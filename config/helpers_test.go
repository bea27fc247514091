package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// echoConfig is the configuration of the plugin "echo" of these tests.
type echoConfig struct {
	Header  string            `json:"header_name" default:"X-Echo" check:"header_name" doc:"Header to echo."`
	Status  int               `json:"status" default:"200" min:"100" max:"599"`
	Token   schema.Secret     `json:"token"`
	Allow   []schema.Prefix   `json:"allow"`
	Match   schema.Pattern    `json:"match"`
	Timeout schema.Seconds    `json:"timeout" default:"1.5" min:"0" max:"60"`
	Labels  map[string]string `json:"labels" keys:"name"`
	Redis   redisConfig       `json:"redis"`
	Group   Ref[Consumer]     `json:"group"`
}

type redisConfig struct {
	Host     string        `json:"host" check:"host"`
	Password schema.Secret `json:"password"`
}

// strictConfig is the configuration of the plugin "strict", which needs a key.
type strictConfig struct {
	Key string `json:"key" required:"true"`
}

// testKinds knows the two plugins of these tests.
type testKinds map[string]*schema.Type

func newKinds() testKinds {
	return testKinds{"echo": schema.Of[echoConfig](), "strict": schema.Of[strictConfig]()}
}

func (k testKinds) Schema(name string) (*schema.Type, bool) {
	t, ok := k[name]
	return t, ok
}

func (k testKinds) Names() []string { return []string{"echo", "strict"} }

// testOrigin has variables and files, but none of the system's.
type testOrigin struct {
	env   map[string]string
	files map[string]string
}

func (o testOrigin) origin() Origin {
	return Origin{
		Path: "/etc/bulwark/kong.yml",
		LookupEnv: func(name string) (string, bool) {
			v, ok := o.env[name]
			return v, ok
		},
		ReadFile: func(path string) ([]byte, error) {
			if v, ok := o.files[path]; ok {
				return []byte(v), nil
			}
			return nil, fs.ErrNotExist
		},
		Environ: func() []string {
			var all []string
			for k, v := range o.env {
				all = append(all, k+"="+v)
			}
			return all
		},
	}
}

// versioned puts the line that every file needs in front, on line 1.
func versioned(src string) []byte {
	return []byte("_format_version: \"3.0\"\n" + src)
}

func mustLoad(t *testing.T, src string) *Config {
	t.Helper()
	c, err := Load(versioned(src), newKinds(), testOrigin{}.origin())
	if err != nil {
		t.Fatalf("loading:\n%v", err)
	}
	return c
}

// loadErrors returns the errors of a file, one string each, without its name.
func loadErrors(t *testing.T, src []byte, o testOrigin) []string {
	t.Helper()
	c, err := Load(src, newKinds(), o.origin())
	if err == nil {
		return nil
	}
	if c != nil {
		t.Error("a configuration was returned beside an error")
	}
	var list *Errors
	if !errors.As(err, &list) {
		t.Fatalf("error is a %T", err)
	}
	return strings.Split(strings.ReplaceAll(list.Error(), list.File+":", ""), "\n")
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// testPair makes a certificate and its key, both in PEM form.
func testPair(t testing.TB, change func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return testCert(t, k, change)
}

func testCert(t testing.TB, k crypto.Signer, change func(*x509.Certificate)) (cert, key string) {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"a.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder}))
}

func testEd25519(t *testing.T) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// quoted returns s as a double-quoted YAML scalar.
func quoted(t *testing.T, s string) string {
	t.Helper()
	return toJSON(t, s)
}
