package waf

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bulwark-edge/bulwark/config"
	"github.com/bulwark-edge/bulwark/plugins"
	"github.com/bulwark-edge/bulwark/rules"
	engine "github.com/bulwark-edge/bulwark/waf"
)

// shared is what all instances of a process have in common. Safe for concurrent
// use.
type shared struct {
	rules  ruleSource
	logs   *logs
	counts *counts
	tell   func(*engine.Event) // in place of the logs; nil: nobody

	auditHeld atomic.Int64 // bytes of content that are kept for the audit log

	opening sync.Mutex // of engines, which takes part of a second; taken before mu
	engines engine.Engines

	mu       sync.Mutex
	open     map[*engine.Engine]int // how often
	serving  *config.Config         // that versions are of
	versions []rules.Version        // of the rules in service
}

// sharedOf returns what the instances of a process share.
func sharedOf(env plugins.Env) *shared {
	return env.State.Value("waf", func() any {
		s := &shared{counts: newCounts(), open: make(map[*engine.Engine]int)}
		s.logs = &logs{log: env.Log, count: &s.counts.log, open: make(map[string]*telemetryLog)}
		if env.Metrics != nil {
			env.Metrics.Register(collector{s}) // as long as the process runs, so that no counter falls
		}
		return s
	}).(*shared)
}

// openEngine returns the engine of some rules, which closeEngine gives back.
func (s *shared) openEngine(r *engine.Rules) (*engine.Engine, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	e, err := s.engines.Open(r)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[e]++
	return e, nil
}

// closeEngine gives an engine back.
func (s *shared) closeEngine(e *engine.Engine) error {
	s.opening.Lock()
	defer s.opening.Unlock()
	s.mu.Lock()
	if s.open[e]--; s.open[e] == 0 {
		s.counts.panics.Add(e.Panics()) // what it has counted is not lost with it
		delete(s.open, e)
	}
	last := len(s.open) == 0
	if last {
		s.serving, s.versions = nil, nil
	}
	s.mu.Unlock()
	err := e.Close()
	if last {
		err = errors.Join(err, s.engines.Close())
	}
	return err
}

// enginesNow returns how often engines have panicked, and how many there are.
func (s *shared) enginesNow() (panics int64, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	panics = s.counts.panics.Load()
	for e := range s.open {
		panics += e.Panics()
	}
	return panics, len(s.open)
}

// serve notes that rules of these versions serve by a configuration from now on.
func (s *shared) serve(cfg *config.Config, versions []rules.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != cfg {
		s.serving, s.versions = cfg, nil
	}
	for _, v := range versions {
		if !slices.Contains(s.versions, v) {
			s.versions = append(s.versions, v)
		}
	}
}

// versionsNow returns what the rules that serve say of their versions.
func (s *shared) versionsNow() []rules.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.versions[:len(s.versions):len(s.versions)]
}

// ruleSource reads the rules: those that are built in once, a directory once for
// each configuration that is compiled.
type ruleSource struct {
	mu      sync.Mutex
	builtIn *rules.WAFRules
	cfg     *config.Config // that files were read for
	files   *rules.WAFRules
	made    map[directives]*engine.Rules // of files, for cfg
	before  map[directives]*engine.Rules // of the same files, for the configuration before; nil: they are others
}

// directives are those of an instance, in front of the Core Rule Set and behind
// it.
type directives struct{ before, after string }

// of returns the rules of a configuration with directives of an instance, and what
// the files say of their versions.
func (s *ruleSource) of(cfg *config.Config, d directives) (*engine.Rules, []rules.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(cfg); err != nil {
		return nil, nil, err
	}
	r := s.made[d]
	if r == nil {
		r = s.before[d]
	}
	if r == nil {
		var err error
		if r, err = engine.NewRules(s.files.FS, s.files.Setup+d.before+"\n"+s.files.Core+d.after+"\n"); err != nil {
			return nil, nil, fmt.Errorf("reading the rules: %w", err)
		}
	}
	s.made[d] = r
	return r, s.files.Versions, nil
}

// read brings files to those of a configuration.
func (s *ruleSource) read(cfg *config.Config) error {
	if s.cfg == cfg && s.files != nil {
		return nil
	}
	files := s.builtIn
	if dir := cfg.Node.WAF.Rules; dir != "" || files == nil {
		var err error
		if files, err = rules.WAF(dir); err != nil {
			return fmt.Errorf("node.waf.rules: %w", err)
		}
		if dir == "" {
			s.builtIn = files
		}
	}
	s.before = nil
	if files == s.files {
		s.before = s.made
	}
	s.cfg, s.files, s.made = cfg, files, make(map[directives]*engine.Rules)
	return nil
}
