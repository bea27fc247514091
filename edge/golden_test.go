package edge_test

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit"
)

func TestGolden(t *testing.T) {
	t.Parallel()
	testkit.RunScriptsInPart(t, "testdata/*.txtar", goldenStride)
}
