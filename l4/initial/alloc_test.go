package initial

import "testing"

func TestAllocs(t *testing.T) {
	msg := helloFor("www.example.com", 1800)
	one := sealed(t, cryptoFrame(0, helloFor("www.example.com", 600)))[0]
	two := sealed(t, cryptoFrame(0, msg[:1000]), cryptoFrame(1000, msg[1000:]))
	tests := []struct {
		name string
		want float64
		run  func() bool
	}{
		{"header", 0, func() bool { h, err := ParseHeader(one, 0); return err == nil && h.Size == len(one) }},
		{"one packet", 8, func() bool {
			a, err := NewAssembler(Version1, []byte(testID))
			if err != nil {
				return false
			}
			info, err := a.Add(one)
			return info != nil && err == nil
		}},
		{"two packets", 8, func() bool {
			a, err := NewAssembler(Version1, []byte(testID))
			if err != nil {
				return false
			}
			if _, err := a.Add(two[0]); err != nil {
				return false
			}
			info, err := a.Add(two[1])
			return info != nil && err == nil
		}},
		{"NewAssembler", 4, func() bool { _, err := NewAssembler(Version1, []byte(testID)); return err == nil }},
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

func BenchmarkAssembler(b *testing.B) {
	one := sealed(b, cryptoFrame(0, helloFor("www.example.com", 600)))[0]
	b.ReportAllocs()
	for b.Loop() {
		a, err := NewAssembler(Version1, []byte(testID))
		if err != nil {
			b.Fatal(err)
		}
		if info, err := a.Add(one); info == nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for name, in := range map[string][]byte{
		"initial": sealed(b, cryptoFrame(0, helloFor("www.example.com", 600)))[0],
		"short":   []byte("\x40" + testID + "and what is protected"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseHeader(in, len(testID)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
