package hello

import (
	"testing"
)

func TestAllocs(t *testing.T) {
	msg := chrome("www.example.com", 1216).message()
	whole, split := records(msg, maxRecord), records(msg, 700)
	quic := parts{extensions: append(quicExtensions(), sni("a.example"), alpn("h3"))}.message()
	broken := parts{extensions: empty(5, 5)}.record()
	fresh := func() *Info {
		info, _, _ := Parse(whole)
		return info
	}
	tests := []struct {
		name string
		want float64
		run  func() bool
	}{
		{"whole", 2, func() bool { info, _, err := Parse(whole); return info != nil && err == nil }},
		{"in records", 3, func() bool { info, _, err := Parse(split); return info != nil && err == nil }},
		{"quic", 2, func() bool { info, _, err := ParseQUIC(quic); return info != nil && err == nil }},
		{"not all here", 0, func() bool { info, _, err := Parse(split[:1000]); return info == nil && err == nil }},
		{"refused", 0, func() bool { _, _, err := Parse(broken); return err != nil }},
		{"whole and JA4", 3, func() bool { return fresh().JA4() != "" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, func() {
				if !tt.run() {
					t.Fatal("it went another way")
				}
			}); n != tt.want {
				t.Errorf("%v allocations, want %v", n, tt.want)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	small := chrome("www.example.com", 32).message()
	large := chrome("www.example.com", 1216).message()
	cases := []struct {
		name string
		in   []byte
	}{
		{"classic", records(small, maxRecord)},
		{"postquantum", records(large, maxRecord)},
		{"records", records(large, 100)},
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if info, _, err := Parse(c.in); info == nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("ja4", func(b *testing.B) {
		info := parse(b, cases[0].in)
		b.ReportAllocs()
		for b.Loop() {
			_ = info.fingerprint()
		}
	})
}
