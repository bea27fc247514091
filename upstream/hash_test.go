package upstream

import "testing"

// TestHash holds the hash against published values of xxHash32.
func TestHash(t *testing.T) {
	for text, want := range map[string]uint32{
		"":    0x02cc5d05,
		"a":   0x550d7456,
		"abc": 0x32d153ff,
		"Nobody inspects the spammish repetition":     0xe2293b2f,
		"The quick brown fox jumps over the lazy dog": 0xe85ea4de,
	} {
		if got := Hash(text); got != want {
			t.Errorf("Hash(%q) = %#08x, want %#08x", text, got, want)
		}
	}
}
