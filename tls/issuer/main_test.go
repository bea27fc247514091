package issuer

import (
	"testing"

	"github.com/bulwark-edge/bulwark/internal/testkit/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
