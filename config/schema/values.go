package schema

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Text is a type that decodes itself from one scalar. Its error text becomes
// the reason of the reported error; a *Problem may say what was expected too.
type Text interface {
	UnmarshalText(text []byte) error
	// Describe must work on the zero value.
	Describe() Description
}

// Description is what a Text type says about itself.
type Description struct {
	Kind    string // Kong's word for the type: string, integer or number
	Format  string // JSON Schema format, or a short name for the docs table
	Example string // a valid value
	Integer bool   // an integer scalar is accepted beside a string
	Literal bool   // never resolved as a vault reference
	Secret  bool   // never printed
}

// Problem is an error of a single value.
type Problem struct {
	Reason   string // what is wrong, in Kong's words where Kong has some
	Expected string // what would be right; empty if the reason says it
}

// Error returns the reason.
func (p *Problem) Error() string { return p.Reason }

// Milliseconds is a duration as Kong's entities write it.
type Milliseconds int64

// Duration converts m.
func (m Milliseconds) Duration() time.Duration { return time.Duration(m) * time.Millisecond }

// Seconds is a duration as Kong's plugins and health checks write it; parts of
// a second are allowed.
type Seconds float64

// Duration converts s.
func (s Seconds) Duration() time.Duration {
	return time.Duration(math.Round(float64(s) * float64(time.Second)))
}

// Duration is a duration written with its unit, such as "30s" or "1m30s".
type Duration time.Duration

var _ Text = (*Duration)(nil)

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d in the form it is written in, without zero parts.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText returns the string form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses a number with a unit.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return &Problem{Reason: "expected a duration with a unit", Expected: `a value such as "30s", "500ms" or "1m"`}
	}
	*d = Duration(v)
	return nil
}

// Describe implements Text.
func (Duration) Describe() Description {
	return Description{Kind: "string", Format: "duration", Example: "30s", Literal: true}
}

// Size is a number of bytes, written as an integer or with a unit: B, KiB,
// MiB, GiB (powers of 1024) or KB, MB, GB (powers of 1000).
type Size int64

var _ Text = (*Size)(nil)

// sizeUnits lists the units from the one that String prefers.
var sizeUnits = [...]struct {
	name string
	n    int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"B", 1},
}

// String returns s with the greatest unit of 1024 that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if s != 0 && int64(s)%u.n == 0 {
			return strconv.FormatInt(int64(s)/u.n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText returns the string form.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses an integer with or without a unit.
func (s *Size) UnmarshalText(text []byte) error {
	bad := &Problem{Reason: "expected a size", Expected: `bytes as an integer, or a value such as "16KiB" or "64MB"`}
	num, unit := string(text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(num, u.name); ok {
			num, unit = rest, u.n
			break
		}
	}
	if !isDecimal(num) {
		return bad
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return bad
	}
	*s = Size(n * unit)
	return nil
}

// Describe implements Text.
func (Size) Describe() Description {
	return Description{Kind: "string", Format: "size", Example: "16KiB", Integer: true, Literal: true}
}

// Prefix is an IP address or a CIDR range. A single address is a range of one.
type Prefix struct {
	netip.Prefix        // masked; IPv4-mapped IPv6 is turned into IPv4
	text         string // as written
}

var _ Text = (*Prefix)(nil)

// PrefixOf returns p as a Prefix.
func PrefixOf(p netip.Prefix) Prefix { return Prefix{Prefix: p.Masked()} }

// String returns the prefix as it was written.
func (p Prefix) String() string {
	if p.text != "" || !p.IsValid() {
		return p.text
	}
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Prefix.String()
}

// MarshalText returns the string form.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses an address or CIDR range.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		*p = Prefix{netip.PrefixFrom(a, a.BitLen()), s}
		return nil
	}
	n, err := netip.ParsePrefix(s)
	if err != nil || (n.Addr().Is4In6() && n.Bits() < 96) {
		return &Problem{
			Reason:   "invalid ip or cidr range: '" + s + "'",
			Expected: `an address or range such as "192.0.2.7", "10.0.0.0/8" or "2001:db8::/32"`,
		}
	}
	if n.Addr().Is4In6() {
		n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	*p = Prefix{n.Masked(), s}
	return nil
}

// Describe implements Text.
func (Prefix) Describe() Description {
	return Description{Kind: "string", Format: "ip-or-cidr", Example: "10.0.0.0/8"}
}

// Hex is bytes, written as pairs of hexadecimal digits between which there may
// be spaces. The value holds the bytes themselves.
type Hex string

var _ Text = (*Hex)(nil)

// MarshalText returns the digits, in lower case and without spaces.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, []byte(h)), nil }

// UnmarshalText parses the digits.
func (h *Hex) UnmarshalText(text []byte) error {
	var b []byte
	for _, group := range strings.Fields(string(text)) {
		var err error
		if b, err = hex.AppendDecode(b, []byte(group)); err != nil {
			b = nil
			break
		}
	}
	if len(b) == 0 {
		return &Problem{Reason: "expected bytes in hexadecimal digits", Expected: `pairs of digits such as "0d0a" or "0d 0a"`}
	}
	*h = Hex(b)
	return nil
}

// Describe implements Text.
func (Hex) Describe() Description {
	return Description{Kind: "string", Format: "hex", Example: "0d 0a", Literal: true}
}

// Pattern is a regular expression in RE2 syntax. The zero value has none.
type Pattern struct{ *regexp.Regexp }

var _ Text = (*Pattern)(nil)

// MarshalText returns the source of the expression.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.Source()), nil }

// Source returns the expression as written, or "" for the zero value.
func (p Pattern) Source() string {
	if p.Regexp == nil {
		return ""
	}
	return p.Regexp.String()
}

// UnmarshalText compiles the expression.
func (p *Pattern) UnmarshalText(text []byte) error {
	re, err := regexp.Compile(string(text))
	if err != nil {
		return regexProblem(string(text), err)
	}
	p.Regexp = re
	return nil
}

// Describe implements Text.
func (Pattern) Describe() Description {
	return Description{Kind: "string", Format: "regex", Example: "^/api/v[0-9]+"}
}

// Secret is a string that is never printed. The zero value is an empty one.
type Secret struct {
	value string
	ref   string // the {vault://...} text the value came from, if it did
}

var (
	_ Text           = (*Secret)(nil)
	_ json.Marshaler = Secret{}
	_ fmt.Formatter  = Secret{}
)

// masked stands for a secret wherever one would be printed.
const masked = "***"

// NewSecret returns a Secret that holds value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return s.value == "" }

// String returns the reference the secret came from, or asterisks.
func (s Secret) String() string {
	switch {
	case s.ref != "":
		return s.ref
	case s.value == "":
		return ""
	}
	return masked
}

// Format keeps every verb, %#v too, from printing the secret.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalJSON writes the string form, and null if there is no secret.
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.String() == "" {
		return []byte("null"), nil
	}
	return json.Marshal(s.String())
}

// UnmarshalText stores the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	s.value = string(text)
	return nil
}

// Describe implements Text.
func (Secret) Describe() Description {
	return Description{Kind: "string", Format: "password", Secret: true}
}

// Unserved is the type of a field that Kong or a later version has and this
// one does not: it is known by name, may be null, and nothing else.
type Unserved struct{}

// MarshalJSON writes null.
func (Unserved) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// isDecimal reports whether s is a plain non-empty run of decimal digits.
func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
