package edge_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestGolden(t *testing.T) { testkit.RunScripts(t, "testdata/*.txtar") }
