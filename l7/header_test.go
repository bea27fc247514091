package l7

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// headerOf makes a header of "name: value" lines.
func headerOf(lines ...string) *Header {
	h := new(Header)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.AddField(Field{Name: name, Value: value, ID: LookupField(name)})
	}
	return h
}

func linesOf(h *Header) []string {
	var lines []string
	for _, f := range h.Fields() {
		lines = append(lines, f.Name+": "+f.Value)
	}
	return lines
}

func TestLookupField(t *testing.T) {
	for id := FieldID(1); id < fieldCount; id++ {
		name := fieldNames[id]
		if name == "" || name != strings.ToLower(name) {
			t.Fatalf("field %d has the name %q", id, name)
		}
		for _, spelled := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := LookupField(spelled); got != id {
				t.Errorf("LookupField(%q) = %d, want %d", spelled, got, id)
			}
		}
		for _, other := range []string{name[1:], name[:len(name)-1], name + "x", "0" + name[1:], name[:len(name)-1] + "~"} {
			if got := LookupField(other); got == id {
				t.Errorf("LookupField(%q) = %d", other, got)
			}
		}
	}
	if fieldCount > 63 {
		t.Errorf("%d known fields: Header.seen has a bit for 63", fieldCount)
	}
	for _, name := range []string{"", "x", "X-Request-Start", "\u212Aeep-alive", "keep\x0dalive", strings.Repeat("a", 1000)} {
		if got := LookupField(name); got != FieldOther {
			t.Errorf("LookupField(%q) = %d, want FieldOther", name, got)
		}
	}
}

func TestHeaderGet(t *testing.T) {
	h := headerOf("Host: a.test", "X-One: 1", "x-one: 2", "Cookie: a=1", "cookie: b=2")
	for _, tt := range []struct {
		name, want string
		ok         bool
	}{
		{"host", "a.test", true},
		{"HOST", "a.test", true},
		{"X-ONE", "1", true},
		{"Cookie", "a=1", true},
		{"X-Two", "", false},
		{"Via", "", false},
		{"", "", false},
	} {
		if got, ok := h.Get(tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("Get(%q) = %q, %v, want %q, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
	if !h.Has(FieldHost) || h.Has(FieldVia) || h.Len() != 5 {
		t.Error("Has or Len is wrong")
	}
}

func TestHeaderEdits(t *testing.T) {
	start := []string{"Host: a.test", "X-One: 1", "Cookie: a=1", "x-one: 2", "cookie: b=2"}
	tests := []struct {
		name string
		edit func(h *Header)
		want []string
	}{
		{"add", func(h *Header) { h.Add("X-One", "3") }, append(append([]string(nil), start...), "X-One: 3")},
		{"add a known one", func(h *Header) { h.Add("Via", "1.1 x") }, append(append([]string(nil), start...), "Via: 1.1 x")},
		{"set replaces all at the place of the first", func(h *Header) { h.Set("X-ONE", "3") }, []string{"Host: a.test", "X-ONE: 3", "Cookie: a=1", "cookie: b=2"}},
		{"set a known one", func(h *Header) { h.Set("Cookie", "c=3") }, []string{"Host: a.test", "X-One: 1", "Cookie: c=3", "x-one: 2"}},
		{"set a new one", func(h *Header) { h.Set("Via", "1.1 x") }, append(append([]string(nil), start...), "Via: 1.1 x")},
		{"delete", func(h *Header) { h.Del("X-One") }, []string{"Host: a.test", "Cookie: a=1", "cookie: b=2"}},
		{"delete a known one", func(h *Header) { h.Del("COOKIE") }, []string{"Host: a.test", "X-One: 1", "x-one: 2"}},
		{"delete an absent one", func(h *Header) { h.Del("Via"); h.Del("X-Two") }, start},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := headerOf(start...)
			tt.edit(h)
			if diff := cmp.Diff(tt.want, linesOf(h)); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			for _, f := range h.Fields() {
				if f.ID != LookupField(f.Name) {
					t.Errorf("%q has the id %d", f.Name, f.ID)
				}
				if f.ID != FieldOther && !h.Has(f.ID) {
					t.Errorf("%q is there, but Has says no", f.Name)
				}
			}
		})
	}
	h := headerOf(start...)
	h.Del("Cookie")
	if h.Has(FieldCookie) {
		t.Error("a deleted field is still there")
	}
	h.Set("Cookie", "back")
	if v, _ := h.Known(FieldCookie); v != "back" {
		t.Errorf("a field set after its deletion is %q", v)
	}
}

// TestHeaderRefuses shows that nothing a plugin sets can break a message apart,
// whatever the request it took it from held.
func TestHeaderRefuses(t *testing.T) {
	tests := []struct {
		name, field, value string
		ok                 bool
	}{
		{"plain", "X-One", "some value, \"quoted\"", true},
		{"empty value", "X-One", "", true},
		{"tab", "X-One", "a\tb", true},
		{"bytes beyond ASCII", "X-One", "gr\xfc\xdfe", true},
		{"every token byte", "!#$%&'*+-.^_`|~09azAZ", "x", true},
		{"CRLF", "X-One", "a\r\nX-Two: b", false},
		{"LF", "X-One", "a\nb", false},
		{"CR", "X-One", "a\rb", false},
		{"NUL", "X-One", "a\x00b", false},
		{"DEL", "X-One", "a\x7fb", false},
		{"escape", "X-One", "\x1b[1m", false},
		{"no name", "", "x", false},
		{"blank in the name", "X One", "x", false},
		{"colon in the name", "X-One:", "x", false},
		{"line end in the name", "X-One\r\nX-Two", "x", false},
		{"a name beyond ASCII", "X-Gr\xfc", "x", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ValidField(tt.field, tt.value); got != tt.ok {
				t.Errorf("ValidField = %v, want %v", got, tt.ok)
			}
			h := headerOf("X-One: old")
			if got := h.Add(tt.field, tt.value); got != tt.ok {
				t.Errorf("Add = %v, want %v", got, tt.ok)
			}
			if want := 1; !tt.ok && h.Len() != want {
				t.Errorf("%d fields after a refusal", h.Len())
			}
			h = headerOf("X-One: old")
			if got := h.Set(tt.field, tt.value); got != tt.ok {
				t.Errorf("Set = %v, want %v", got, tt.ok)
			}
			if v, _ := h.Get("X-One"); !tt.ok && (v != "old" || h.Len() != 1) {
				t.Errorf("a refused Set left %q", linesOf(h))
			}
			r := NewReply(200, "", nil).SetHeader(tt.field, tt.value)
			if (len(r.Header) == 1) != tt.ok {
				t.Errorf("the reply has the fields %q", r.Header)
			}
		})
	}
}

func TestNominates(t *testing.T) {
	tests := []struct {
		connection []string
		field      string
		want       bool
	}{
		{nil, "X-One", false},
		{[]string{"close"}, "X-One", false},
		{[]string{"X-One"}, "X-One", true},
		{[]string{"keep-alive, x-one"}, "X-One", true},
		{[]string{"keep-alive ,\tX-ONE\t, te"}, "X-One", true},
		{[]string{"close", "X-One"}, "X-One", true},
		{[]string{"X-One-More"}, "X-One", false},
		{[]string{"X-On"}, "X-One", false},
		{[]string{",,"}, "X-One", false},
		{[]string{"\u212Aeep"}, "Keep", false},
	}
	for _, tt := range tests {
		h := headerOf("X-One: 1")
		for _, c := range tt.connection {
			h.Add("Connection", c)
		}
		if got := h.Nominates(&Field{Name: tt.field}); got != tt.want {
			t.Errorf("Connection %q nominates %q: %v, want %v", tt.connection, tt.field, got, tt.want)
		}
	}
}

func TestHeaderCopyAndReset(t *testing.T) {
	h := headerOf("Host: a.test", "X-One: 1")
	c := headerOf("Via: old")
	c.CopyFrom(h)
	c.Set("X-One", "2")
	c.Del("Host")
	if v, _ := h.Get("X-One"); v != "1" || !h.Has(FieldHost) {
		t.Error("an edit of the copy shows in the original")
	}
	if c.Has(FieldVia) {
		t.Error("a field from before the copy is left")
	}
	h.Reset()
	if h.Len() != 0 || h.Has(FieldHost) {
		t.Error("a header that was reset has fields")
	}
	if kept := h.fields[:cap(h.fields)][0]; kept != (Field{}) {
		t.Errorf("a header that was reset keeps %q alive", kept)
	}
}

// TestNewExchangeHasRoom shows that the usual head does not make a header grow.
func TestNewExchangeHasRoom(t *testing.T) {
	x := NewExchange()
	defer x.Release()
	for name, h := range map[string]*Header{"request": &x.Req.Header, "response": &x.Resp.Header} {
		if cap(h.fields) < headerRoom {
			t.Errorf("the %s's header has room for %d fields, want %d", name, cap(h.fields), headerRoom)
		}
	}
}

func TestDropNominated(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		any  bool
		want []string
	}{
		{"nothing", []string{"X-One: 1"}, false, []string{"X-One: 1"}},
		{"options only", []string{"Connection: keep-alive, Upgrade, TE,", "Upgrade: h2c", "X-One: 1"}, false, []string{"Connection: keep-alive, Upgrade, TE,", "Upgrade: h2c", "X-One: 1"}},
		{"one", []string{"X-One: 1", "Connection: x-one", "X-Two: 2"}, true, []string{"Connection: x-one", "X-Two: 2"}},
		{"keep-alive first", []string{"Connection: keep-alive", "Connection: X-One", "X-One: 1", "X-One: 2"}, true, []string{"Connection: keep-alive", "Connection: X-One"}},
		{"close first", []string{"Connection: close", "X-One: 1", "Connection: X-One"}, true, []string{"Connection: close", "Connection: X-One"}},
		{"keep-alive last", []string{"Connection: X-One", "X-One: 1", "Connection: keep-alive"}, true, []string{"Connection: X-One", "Connection: keep-alive"}},
		{"the engine's", []string{"Connection: Connection, Keep-Alive, Upgrade, Via", "Keep-Alive: timeout=5", "Upgrade: h2c", "Via: 1.1 a"}, true, []string{"Connection: Connection, Keep-Alive, Upgrade, Via", "Keep-Alive: timeout=5", "Upgrade: h2c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := headerOf(tt.in...)
			if got := h.NominatesAny(); got != tt.any {
				t.Errorf("NominatesAny = %v, want %v", got, tt.any)
			}
			h.DropNominated()
			if d := cmp.Diff(tt.want, linesOf(h)); d != "" {
				t.Errorf("what is left (-want +got):\n%s", d)
			}
		})
	}
}
