package waf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mode says what is done about an attack.
type Mode int

const (
	Detect Mode = iota // it is told, and passes
	Block              // it is denied
)

// Beyond says what is done about content that is not inspected.
type Beyond int

const (
	Reject Beyond = iota // the exchange is denied
	Prefix               // as much as the limit allows is inspected, the rest passes
	ByType               // of requests: Prefix for multipart and binary content, Reject for all other
)

// Processor says how content is parsed.
type Processor string

const (
	URLEncoded  Processor = "URLENCODED"
	Multipart   Processor = "MULTIPART"
	JSON        Processor = "JSON"
	XML         Processor = "XML"
	Raw         Processor = "RAW"  // not parsed; rules see the content as it is
	Uninspected Processor = "NONE" // not looked at
)

// Settings are what one plugin instance wants of an engine; no engine is
// compiled for them. Zero values stand for the defaults that each field tells.
type Settings struct {
	Mode Mode

	// ParanoiaLevel, 1 to 4, is that of the rules whose scores count; 0 is 1.
	// DetectionLevel is that of the rules that are asked and told: 0 is the
	// same, and a higher one shows what a higher paranoia level would do.
	ParanoiaLevel, DetectionLevel int

	// From which score on an exchange is denied; 0 is 5 for requests and 4 for
	// responses.
	InboundThreshold, OutboundThreshold int

	// EarlyBlocking denies after the head alone if its score suffices.
	EarlyBlocking bool

	// AllowedMethods and AllowedTypes replace the Core Rule Set's own lists of
	// methods and of content types of requests (without parameters).
	AllowedMethods, AllowedTypes []string

	// Packs are exclusion packs by name: each leaves out what would be wrong
	// about requests of one application.
	Packs      []string
	Exclusions []Exclusion

	RequestBody, ResponseBody BodySettings
	Caps                      Caps

	// Processors tells how content is parsed, by content type ("image/png",
	// "image/*", "application/*+json", without parameters, in lower case).
	// Types that are not in it are parsed as the rules say, but binary ones
	// (application/octet-stream, images, audio, video) are Raw.
	Processors map[string]Processor

	// ResponseTypes are the content types of responses whose bodies are
	// inspected; nil: text/plain, text/html and text/xml.
	ResponseTypes []string

	// DecodedRequests says that content is decoded before it comes here
	// (Decode), so that its Content-Encoding is nothing to be denied for.
	DecodedRequests bool

	// FailOpen lets pass what could not be inspected because of an error of
	// ours. Without it such an exchange is denied in mode Block.
	FailOpen bool
}

// BodySettings bound the inspection of bodies.
type BodySettings struct {
	Limit  int64  // bytes that are inspected; 0: 128 KiB of requests, 512 KiB of responses
	Beyond Beyond // what is done about longer ones
}

// Defaults and bounds of settings.
const (
	defaultRequestBody  = 128 << 10
	defaultResponseBody = 512 << 10
	maxBody             = 128 << 20 // bytes of a body that a profile may have inspected
	maxThreshold        = 100_000
	maxPathLength       = 8 << 10
)

// Profile is how one plugin instance uses an engine. It never changes and any
// number of inspections may share it.
type Profile struct {
	engine     *Engine
	settings   Settings
	variables  []variable // of the TX collection, set before any rule runs
	exclusions []exclusion
	processors processors
	types      []string // of responses
	forced     []string // those of types that the rules' own list lacks
}

// variable is one of the TX collection.
type variable struct {
	name   string
	values []string
}

// Profile compiles settings. The error tells everything that is wrong with
// them; a profile that blocks is refused if something in it or in the rules
// would keep it from blocking.
func (e *Engine) Profile(s Settings) (*Profile, error) {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	s.ParanoiaLevel = orDefault(s.ParanoiaLevel, 1)
	s.DetectionLevel = orDefault(s.DetectionLevel, s.ParanoiaLevel)
	if s.ParanoiaLevel < 1 || s.ParanoiaLevel > 4 {
		fail("the paranoia level %d is none of 1 to 4", s.ParanoiaLevel)
	}
	if s.DetectionLevel < s.ParanoiaLevel || s.DetectionLevel > 4 {
		fail("the detection level %d is none of the paranoia level, %d, to 4", s.DetectionLevel, s.ParanoiaLevel)
	}
	for _, t := range []int{s.InboundThreshold, s.OutboundThreshold} {
		if t < 0 || t > maxThreshold {
			fail("the threshold %d is none of 1 to %d", t, maxThreshold)
		}
	}
	s.RequestBody.Limit = orDefault(s.RequestBody.Limit, defaultRequestBody)
	s.ResponseBody.Limit = orDefault(s.ResponseBody.Limit, defaultResponseBody)
	for _, b := range []BodySettings{s.RequestBody, s.ResponseBody} {
		if b.Limit < 1 || b.Limit > maxBody {
			fail("the body limit %d is none of 1 to %d", b.Limit, maxBody)
		}
	}
	s.Caps = s.Caps.withDefaults()
	if err := s.Caps.check(); err != nil {
		errs = append(errs, err)
	}
	if s.Mode == Block {
		for _, f := range e.rules.switches {
			errs = append(errs, f)
		}
	}
	p := &Profile{engine: e, settings: s, types: s.ResponseTypes}
	if p.types == nil {
		p.types = defaultResponseTypes
	}
	for _, t := range p.types {
		if !slices.Contains(defaultResponseTypes, t) {
			p.forced = append(p.forced, t)
		}
	}
	var err error
	if p.variables, err = s.variables(e); err != nil {
		errs = append(errs, err)
	}
	if p.processors, err = compileProcessors(s.Processors); err != nil {
		errs = append(errs, err)
	}
	if p.exclusions, err = e.compileExclusions(s.Exclusions); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return p, nil
}

// Settings returns the settings with their defaults.
func (p *Profile) Settings() Settings { return p.settings }

// Engine is the engine that the profile uses.
func (p *Profile) Engine() *Engine { return p.engine }

func orDefault[T int | int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// variables are those of the TX collection that differ from what the rules set
// themselves, so that a profile of defaults sets none.
func (s *Settings) variables(e *Engine) ([]variable, error) {
	var vars []variable
	set := func(name, value string) { vars = append(vars, variable{name, []string{value}}) }
	if s.Mode == Detect {
		set(txMode, modeDetect)
	}
	if s.ParanoiaLevel != 1 {
		set("blocking_paranoia_level", strconv.Itoa(s.ParanoiaLevel))
	}
	if s.DetectionLevel != s.ParanoiaLevel {
		set("detection_paranoia_level", strconv.Itoa(s.DetectionLevel))
	}
	if s.InboundThreshold != 0 {
		set("inbound_anomaly_score_threshold", strconv.Itoa(s.InboundThreshold))
	}
	if s.OutboundThreshold != 0 {
		set("outbound_anomaly_score_threshold", strconv.Itoa(s.OutboundThreshold))
	}
	if s.EarlyBlocking {
		set("early_blocking", "1")
	}
	var errs []error
	if len(s.AllowedMethods) > 0 {
		for _, m := range s.AllowedMethods {
			if !isToken(m) {
				errs = append(errs, fmt.Errorf("the method %q is no token", m))
			}
		}
		set("allowed_methods", strings.Join(s.AllowedMethods, " "))
	}
	if len(s.AllowedTypes) > 0 {
		var list []string
		for _, t := range s.AllowedTypes {
			if !isMediaType(t) {
				errs = append(errs, fmt.Errorf("the content type %q is none", t))
			}
			list = append(list, "|"+strings.ToLower(t)+"|")
		}
		set("allowed_request_content_type", strings.Join(list, " "))
	}
	for _, name := range s.Packs {
		if !e.hasPack(name) {
			errs = append(errs, fmt.Errorf("the rules have no exclusion pack %q", name))
			continue
		}
		set(packPrefix+name, "1")
	}
	return vars, errors.Join(errs...)
}

// packPrefix is that of the TX variables which switch packs on, and of the
// markers that their rules end with.
const packPrefix = ownPrefix + "pack_"

// hasPack reports whether the rules have a pack of that name.
func (e *Engine) hasPack(name string) bool {
	return len(e.byTag["bulwark-pack/"+name]) > 0
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isMediaType reports whether s is a content type without parameters.
func isMediaType(s string) bool {
	kind, sub, ok := strings.Cut(s, "/")
	return ok && isToken(kind) && isToken(sub)
}
