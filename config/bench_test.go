package config

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// manyRoutes returns a file with n services of five routes each.
func manyRoutes(services int) []byte {
	var b strings.Builder
	b.WriteString("_format_version: \"3.0\"\nservices:\n")
	for i := range services {
		fmt.Fprintf(&b, "- name: service-%d\n  url: http://10.0.%d.%d:8080/base\n  routes:\n", i, i/250, i%250)
		for j := range 5 {
			fmt.Fprintf(&b, "  - name: route-%d-%d\n    hosts: [h%d.example.com]\n    paths: [/a/%d/%d, \"~/v[0-9]+/%d\"]\n    methods: [GET, POST]\n    strip_path: false\n", i, j, i, i, j, j)
		}
	}
	return []byte(b.String())
}

// BenchmarkLoad reads 15,000 routes of 3,000 services, the working size.
func BenchmarkLoad(b *testing.B) {
	src := manyRoutes(3000)
	from := Origin{Path: "kong.yml", Environ: func() []string { return nil }}
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := Load(src, nil, from)
		if err != nil {
			b.Fatal(err)
		}
		if c.Routes.Len() != 15000 {
			b.Fatalf("loaded %d routes", c.Routes.Len())
		}
	}
}

// BenchmarkLoadCertificates reads 10,000 certificates with a key and a server
// name each, half of them RSA; what is kept of them is told as bytes each.
func BenchmarkLoadCertificates(b *testing.B) {
	const count = 10_000
	ecCert, ecKey := testPair(b, nil)
	rsaKeyed, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	rsaCert, rsaText := testCert(b, rsaKeyed, nil)
	indent := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") }
	var s strings.Builder
	s.WriteString("_format_version: \"3.0\"\ncertificates:\n")
	for i := range count {
		cert, key := ecCert, ecKey
		if i%2 == 1 {
			cert, key = rsaCert, rsaText
		}
		fmt.Fprintf(&s, "- id: 00000000-0000-4000-8000-%012d\n  cert: |\n    %s\n  key: |\n    %s\n  snis: [h%d.example.com]\n", i, indent(cert), indent(key), i)
	}
	src := []byte(s.String())
	from := Origin{Path: "kong.yml", Environ: func() []string { return nil }}
	var before, after runtime.MemStats
	var c *Config
	for b.Loop() {
		c = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		if c, err = Load(src, nil, from); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
	}
	if c.Certificates.Len() != count || c.SNIs.Len() != count {
		b.Fatalf("loaded %d certificates with %d names", c.Certificates.Len(), c.SNIs.Len())
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count, "kept-B/cert")
}
