package testkit

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
	"github.com/bulwark-edge/bulwark/internal/testkit/port"
)

// Main is leak.Main.
func Main(m *testing.M) { leak.Main(m) }

// Leaked is leak.Leaked.
func Leaked(before map[string]bool) []string { return leak.Leaked(before) }

// Goroutines is leak.Goroutines.
func Goroutines() map[string]bool { return leak.Goroutines() }

// LastingAddr is port.Lasting.
func LastingAddr(t testing.TB) string { return port.Lasting(t) }
