package mtlsauth_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }
