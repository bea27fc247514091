package testkit

import (
	"strings"
	"testing"

	"github.com/bulwark-edge/bulwark/config"
)

// WantConfigError fails the test unless loading the configuration is refused
// with an error that contains want.
func WantConfigError(t testing.TB, yaml, want string) {
	t.Helper()
	_, err := config.Load([]byte("_format_version: \"3.0\"\n"+yaml+"\n"), kinds(), config.Origin{})
	switch {
	case err == nil:
		t.Errorf("loading %s: no error, want one with %q", yaml, want)
	case !strings.Contains(err.Error(), want):
		t.Errorf("loading %s: error %q does not contain %q", yaml, err, want)
	}
}
