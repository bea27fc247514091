package headercertauth

import (
	"crypto/sha256"
	"sync"

	"github.com/bulwark-edge/bulwark/plugins/internal/auth"
)

// verdicts keeps what was found out of the values of the field, for as long as
// the verdicts hold. It forgets what was not asked for lately. Safe for
// concurrent use; the zero value is empty.
type verdicts struct {
	mu       sync.Mutex
	now, old map[[sha256.Size]byte]*auth.Verdict // at most maxVerdicts each
}

// maxVerdicts bounds each half of what an instance keeps.
const maxVerdicts = 2048

// get returns the verdict of a value, if it still holds.
func (k *verdicts) get(value string, c *auth.Certificates) (*auth.Verdict, bool) {
	key := sha256.Sum256([]byte(value))
	k.mu.Lock()
	defer k.mu.Unlock()
	v, known := k.now[key]
	if !known {
		if v, known = k.old[key]; known {
			k.keep(key, v)
		}
	}
	return v, known && c.Holds(v)
}

func (k *verdicts) put(value string, v *auth.Verdict) {
	key := sha256.Sum256([]byte(value))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(key, v)
}

// keep is called with mu held.
func (k *verdicts) keep(key [sha256.Size]byte, v *auth.Verdict) {
	if k.now == nil || len(k.now) >= maxVerdicts {
		k.now, k.old = make(map[[sha256.Size]byte]*auth.Verdict), k.now
	}
	k.now[key] = v
}
