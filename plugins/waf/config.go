package waf

import (
	"strconv"
	"strings"

	"github.com/bulwark-edge/bulwark/config/schema"
)

// Config is the configuration. The plugin is Bulwark's own; names and defaults
// are those of the Core Rule Set where it has some.
type Config struct {
	Mode                   string      `json:"mode" default:"block" enum:"off,detect,block" doc:"What is done about attacks: block refuses them, detect only tells of them, off does not look."`
	ParanoiaLevel          int         `json:"paranoia_level" default:"1" min:"1" max:"4" doc:"Level of the rules whose scores count: higher ones find more, and more that is none."`
	DetectionParanoiaLevel *int        `json:"detection_paranoia_level" min:"1" max:"4" doc:"Level of the rules that are asked and told of, at least paranoia_level: what a higher one would do can be seen without blocking by it. null means paranoia_level."`
	InboundThreshold       *int        `json:"inbound_threshold" min:"1" max:"100000" doc:"Score from which a request is an attack; null means what the rules say: 5, where none of yours say otherwise."`
	OutboundThreshold      *int        `json:"outbound_threshold" min:"1" max:"100000" doc:"Score from which a response gives something away; null means what the rules say: 4."`
	EarlyBlocking          bool        `json:"early_blocking" default:"false" doc:"Whether the score of a head alone is judged before content is read."`
	AllowedMethods         []string    `json:"allowed_methods" check:"method" unique:"true" doc:"Methods of requests that the rules let pass; the default is the Core Rule Set's own list: GET, HEAD, POST and OPTIONS."`
	AllowedContentTypes    []string    `json:"allowed_content_types" unique:"true" doc:"Media types of requests that the rules let pass, without parameters; the default is the Core Rule Set's own list."`
	Packs                  []string    `json:"packs" unique:"true" doc:"Exclusion packs: each leaves out what would be wrong about one application. See waf.md."`
	Exclusions             []Exclusion `json:"exclusions" doc:"Rules, or parameters of rules, that are left out."`

	RequestBody  RequestBody  `json:"request_body" doc:"Inspection of the content of requests."`
	ResponseBody ResponseBody `json:"response_body" doc:"Inspection of the content of responses."`
	Caps         Caps         `json:"caps" doc:"Bounds of what a request may hold, looked at before the rules see it."`

	RequestTrailers  string            `json:"request_trailers" default:"remove" enum:"remove,pass" doc:"What is done about fields behind the content of requests, which no rule sees: remove keeps them from the upstream, in mode detect too, pass does not. Either way they are told of as uninspected."`
	ContentTypes     map[string]string `json:"content_types" enum:"urlencoded,multipart,json,xml,raw,none" doc:"How content of requests is parsed, by media type, such as image/png, image/* or application/*+json: raw shows it to rules as it is, none not at all. Other types are parsed as the rules say."`
	RequestDecoding  string            `json:"request_decoding" default:"decode" enum:"decode,refuse" doc:"What is done about requests with a Content-Encoding: decode inspects what is within (the upstream gets it as it was sent), refuse answers 415."`
	ResponseDecoding string            `json:"response_decoding" default:"identity" enum:"identity,decode" doc:"How the content of responses is had unencoded where it is inspected: identity asks the upstream for it so, decode decodes it."`
	FailMode         string            `json:"fail_mode" default:"closed" enum:"closed,open" doc:"What is done if the engine itself fails: closed answers 500 (503 if it is too busy), open lets the exchange pass uninspected, as mode detect always does."`
	Directives       string            `json:"directives" doc:"Directives of your own in SecLang, in front of the Core Rule Set: rules, and settings such as SecAction with setvar. Each different text takes an engine of its own, about 20 MB."`
	DirectivesAfter  string            `json:"directives_after" doc:"The same behind the Core Rule Set, where SecRuleUpdateTargetById and its like belong."`
	Blocked          Blocked           `json:"blocked" doc:"The answer to what is blocked."`
}

// Exclusion leaves rules, or parameters of rules, out.
type Exclusion struct {
	Rules   []string `json:"rules" doc:"Ids of rules, or ranges such as 942100-942199."`
	Tags    []string `json:"tags" doc:"Tags of rules, such as attack-sqli."`
	Target  string   `json:"target" doc:"Variable that those rules do not look at, such as ARGS:comment or REQUEST_COOKIES:/^wp-/; without one they do not run."`
	Paths   []string `json:"paths" check:"path" doc:"Paths, and all below them, that this is for; none means all."`
	Methods []string `json:"methods" check:"method" doc:"Methods that this is for; none means all."`
}

// RequestBody says how much content of requests is inspected.
type RequestBody struct {
	Inspect bool        `json:"inspect" default:"true" doc:"Whether content is inspected."`
	Limit   schema.Size `json:"limit" default:"128KiB" min:"1KiB" max:"128MiB" doc:"Bytes that are inspected; the request waits for them."`
	Beyond  string      `json:"beyond" default:"auto" enum:"auto,prefix,reject" doc:"What is done about longer content: reject answers 413, prefix inspects the first limit bytes and streams the rest, auto does so for multipart and for what rules cannot read (images, archives, application/octet-stream), and rejects all other."`
}

// ResponseBody says how much content of responses is inspected.
type ResponseBody struct {
	Inspect bool        `json:"inspect" default:"true" doc:"Whether content is inspected. Heads are in any case."`
	Limit   schema.Size `json:"limit" default:"512KiB" min:"1KiB" max:"128MiB" doc:"Bytes that are inspected; the answer waits for them."`
	Types   []string    `json:"types" default:"[text/plain, text/html, text/xml]" unique:"true" doc:"Media types that are inspected, without parameters. All others are streamed."`
	Beyond  string      `json:"beyond" default:"prefix" enum:"prefix,reject" doc:"What is done about longer content: prefix inspects the first limit bytes and streams the rest, reject answers 500."`
}

// Caps bound what the engine would keep in memory or recurse into.
type Caps struct {
	JSONDepth int    `json:"json_depth" default:"256" min:"1" max:"1024" doc:"Objects and lists within each other in JSON."`
	Parts     int    `json:"parts" default:"500" min:"1" max:"10000" doc:"Parts of multipart content."`
	XMLNodes  int    `json:"xml_nodes" default:"10000" min:"1" max:"100000" doc:"Tags and attributes of XML."`
	Cookies   int    `json:"cookies" default:"300" min:"1" max:"10000" doc:"Cookies of a request."`
	Beyond    string `json:"beyond" default:"reject" enum:"reject,pass" doc:"What is done about a request beyond one of them: reject refuses it, pass lets that part of it pass uninspected, which is told."`
}

// Blocked is the answer to what is blocked.
type Blocked struct {
	Status      int    `json:"status" default:"403" min:"400" max:"599" doc:"Status, where the rule that blocks does not name another one than 403."`
	Body        string `json:"body" doc:"Content, in which {request_id} stands for the request's id; by default the usual error shape."`
	ContentType string `json:"content_type" default:"text/html; charset=utf-8" doc:"Content type of body."`
}

// protected are the ids of the rules that decide what is blocked: the engine's
// own, and those of the Core Rule Set that prepare and judge scores.
var protected = [][2]int{{150000, 150009}, {901000, 901999}, {949000, 949999}, {959000, 959999}, {980000, 980999}}

// Validate checks what concerns several fields, and refuses what would switch
// the firewall off by accident.
func (c *Config) Validate(r *schema.Report) {
	if d := c.DetectionParanoiaLevel; d != nil && *d < c.ParanoiaLevel {
		r.Fail("cannot be below paranoia_level", "detection_paranoia_level")
	}
	for i, t := range c.AllowedContentTypes {
		checkType(r, t, "allowed_content_types", i)
	}
}

// Validate checks that it names something, and nothing that decides.
func (e *Exclusion) Validate(r *schema.Report) {
	if len(e.Rules) == 0 && len(e.Tags) == 0 && e.Target == "" {
		r.Fail("at least one of rules, tags and target is needed: without them everything would be left out")
	}
	for i, s := range e.Rules {
		first, last, ok := parseRange(s)
		if !ok {
			r.Expect("invalid value: "+s, "the id of a rule, such as 942100, or a range, such as 942100-942199", "rules", i)
			continue
		}
		for _, p := range protected {
			if first <= p[1] && last >= p[0] {
				r.Fail("rules "+strconv.Itoa(p[0])+" to "+strconv.Itoa(p[1])+" decide what is blocked, and cannot be left out; mode switches the firewall off", "rules", i)
				break
			}
		}
	}
}

// Validate checks the media types.
func (b *ResponseBody) Validate(r *schema.Report) {
	for i, t := range b.Types {
		switch checkType(r, t, "types", i); {
		case strings.EqualFold(t, "text/event-stream"):
			r.Fail("cannot be inspected: such an answer never ends, and would be held back", "types", i)
		case strings.HasPrefix(strings.ToLower(t), "application/grpc"):
			r.Fail("cannot be inspected: such an answer is a stream, and would be held back", "types", i)
		}
	}
}

// checkType checks that t is a media type.
func checkType(r *schema.Report, t string, at ...any) {
	kind, subtype, ok := strings.Cut(t, "/")
	if !ok || kind == "" || subtype == "" || strings.ContainsAny(t, "; \t,*\"'") {
		r.Expect("invalid value: "+t, "a media type without parameters, such as text/html", at...)
	}
}

// parseRange reads the id of a rule, or a range of them.
func parseRange(s string) (first, last int, ok bool) {
	from, to, isRange := strings.Cut(s, "-")
	first, err := strconv.Atoi(from)
	if err != nil || first <= 0 {
		return 0, 0, false
	}
	if !isRange {
		return first, first, true
	}
	last, err = strconv.Atoi(to)
	return first, last, err == nil && last >= first
}
