package config

import (
	"fmt"
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
