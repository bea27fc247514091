package compression

import (
	"strconv"
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/l7"
)

func TestChoose(t *testing.T) {
	all := []coding{codingZstd, codingBr, codingGzip}
	tests := []struct {
		name   string
		fields []string
		order  []coding
		want   coding
	}{
		{"no field", nil, all, codingNone},
		{"empty field", []string{""}, all, codingNone},
		{"one", []string{"gzip"}, all, codingGzip},
		{"equals, the server chooses", []string{"gzip, br, zstd"}, all, codingZstd},
		{"equals, another server", []string{"gzip, br, zstd"}, []coding{codingGzip, codingZstd}, codingGzip},
		{"the client prefers", []string{"zstd;q=0.1, br;q=0.2, gzip;q=0.3"}, all, codingGzip},
		{"two fields", []string{"zstd;q=0.1", "gzip"}, all, codingGzip},
		{"not acceptable", []string{"zstd;q=0, br;q=0.000, gzip;q=0.001"}, all, codingGzip},
		{"none acceptable", []string{"zstd;q=0, br;q=0, gzip;q=0"}, all, codingNone},
		{"any", []string{"*"}, all, codingZstd},
		{"any other", []string{"zstd;q=0, *;q=0.5"}, all, codingBr},
		{"any not", []string{"br, *;q=0"}, all, codingBr},
		{"identity is preferred", []string{"identity, gzip;q=0.9"}, all, codingNone},
		{"identity is as good", []string{"identity, gzip"}, all, codingGzip},
		{"identity not acceptable", []string{"identity;q=0"}, all, codingNone},
		{"not configured", []string{"br"}, []coding{codingGzip}, codingNone},
		{"unknown", []string{"deflate, compress"}, all, codingNone},
		{"case and spaces", []string{" \tGZip ; Q=1.0 ,"}, all, codingGzip},
		{"old name", []string{"x-gzip"}, all, codingGzip},
		{"the first of two", []string{"gzip;q=0, gzip"}, all, codingNone},
		{"bad weight", []string{"gzip;q=2, br;q=0.5"}, all, codingBr},
		{"bad weight with signs", []string{"gzip;q=-1"}, all, codingNone},
		{"four digits", []string{"gzip;q=0.1234"}, all, codingNone},
		{"parameter that is no weight", []string{"gzip;level=1"}, all, codingNone},
		{"empty elements", []string{",,gzip,,"}, all, codingGzip},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h l7.Header
			for _, f := range tt.fields {
				h.Add("accept-encoding", f)
			}
			if got := choose(&h, tt.order); got != tt.want {
				t.Errorf("chose %d, want %d", got, tt.want)
			}
		})
	}
}

func TestChooseDoesNotAllocate(t *testing.T) {
	var h l7.Header
	h.Add("Accept-Encoding", "gzip, deflate, br;q=0.9, zstd;q=0.8")
	order := []coding{codingZstd, codingBr, codingGzip}
	if n := testing.AllocsPerRun(100, func() {
		if choose(&h, order) != codingGzip {
			t.Fatal("chose another coding")
		}
	}); n != 0 {
		t.Errorf("choosing allocates %v times", n)
	}
}

// FuzzChoose holds the parser against one that reads the rules slowly.
func FuzzChoose(f *testing.F) {
	for _, seed := range []string{"", "gzip", "br;q=0.5,gzip;q=1.000", "*;q=0, zstd", "identity;q=0.1, x-gzip ;q=0.05", "gzip;q=1.001", "gzip;;q=1", ",;,q=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		var h l7.Header
		if !h.Add("Accept-Encoding", field) {
			return
		}
		order := []coding{codingZstd, codingBr, codingGzip}
		if got, want := choose(&h, order), plainChoose(field, order); got != want {
			t.Errorf("for %q chose %d, want %d", field, got, want)
		}
	})
}

func plainChoose(field string, order []coding) coding {
	weights := make(map[string]float64)
	for _, element := range strings.Split(field, ",") {
		parts := strings.SplitN(element, ";", 2)
		name := strings.ToLower(strings.Trim(parts[0], " \t"))
		if name == "x-gzip" {
			name = "gzip"
		}
		q := 1.0
		if len(parts) == 2 {
			if p := strings.ToLower(strings.Trim(parts[1], " \t")); p != "" {
				digits, isQ := strings.CutPrefix(p, "q=")
				if !isQ || strings.Trim(digits, "0123456789.") != "" || len(digits) > 5 || digits == "" || digits[0] == '.' || len(digits) > 1 && digits[1] != '.' {
					continue
				}
				var err error
				if q, err = strconv.ParseFloat(digits, 64); err != nil || q > 1 {
					continue
				}
			}
		}
		if _, seen := weights[name]; !seen {
			weights[name] = q
		}
	}
	best, most := codingNone, 0.0
	for _, c := range order {
		q, ok := weights[codingNames[c]]
		if !ok {
			q = weights["*"]
		}
		if q > most && q >= weights["identity"] {
			best, most = c, q
		}
	}
	return best
}
