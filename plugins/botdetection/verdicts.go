package botdetection

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	// maxVerdicts bounds the User-Agents whose verdicts an instance keeps.
	maxVerdicts = 4096
	// maxAgentBytes is the length beyond which a User-Agent is not kept.
	maxAgentBytes = 512
)

// verdicts keeps what was found out about User-Agents. Each has one place, by
// its hash, from which a newer one drives it out. Reading takes no lock. Safe for
// concurrent use.
type verdicts struct {
	seed   maphash.Seed // so that nobody outside knows who shares a place
	places [maxVerdicts]atomic.Pointer[verdict]
}

// verdict is immutable.
type verdict struct {
	agent  string
	refuse bool
}

func newVerdicts() *verdicts { return &verdicts{seed: maphash.MakeSeed()} }

// refuse returns what judge says of an agent, asking it only if that is not
// known.
func (v *verdicts) refuse(agent string, judge func(agent string) bool) bool {
	place := &v.places[maphash.String(v.seed, agent)%maxVerdicts]
	if known := place.Load(); known != nil && known.agent == agent {
		return known.refuse
	}
	refuse := judge(agent)
	if len(agent) <= maxAgentBytes {
		// A copy, since the agent is a part of its request's head.
		place.Store(&verdict{strings.Clone(agent), refuse})
	}
	return refuse
}
