package waf

import (
	"bytes"
	"fmt"
	"mime"
)

// Caps bound what is in a request before the engine sees it: what it makes of
// these it keeps in memory or recurses into. Zero fields stand for defaults.
type Caps struct {
	JSONDepth int // arrays and objects within each other; 1024 at most
	Parts     int // parts of a multipart body; 10,000 at most
	XMLNodes  int // tags and attributes; 100,000 at most
	Cookies   int // 10,000 at most

	// Beyond says what is done about a request that is beyond one of them:
	// Reject denies it; Prefix lets its body pass uninspected, which is told.
	Beyond Beyond
}

// Defaults of caps.
const (
	defaultJSONDepth = 256
	defaultParts     = 500
	defaultXMLNodes  = 10_000
	defaultCookies   = 300
)

func (c Caps) withDefaults() Caps {
	c.JSONDepth = orDefault(c.JSONDepth, defaultJSONDepth)
	c.Parts = orDefault(c.Parts, defaultParts)
	c.XMLNodes = orDefault(c.XMLNodes, defaultXMLNodes)
	c.Cookies = orDefault(c.Cookies, defaultCookies)
	return c
}

func (c Caps) check() error {
	for _, b := range []struct {
		name       string
		value, max int
	}{
		{"depth of JSON", c.JSONDepth, 1024},
		{"number of parts", c.Parts, 10_000},
		{"number of XML nodes", c.XMLNodes, 100_000},
		{"number of cookies", c.Cookies, 10_000},
	} {
		if b.value < 1 || b.value > b.max {
			return fmt.Errorf("the cap on the %s, %d, is none of 1 to %d", b.name, b.value, b.max)
		}
	}
	return nil
}

// What is beyond a cap, as events tell it.
const (
	beyondJSON    = "json_depth"
	beyondParts   = "multipart_parts"
	beyondXML     = "xml_nodes"
	beyondDTD     = "xml_entities"
	beyondCookies = "cookies"
)

// exceeded tells which cap content is beyond, if any, when it is parsed by that
// processor. It reads the bytes once and keeps nothing.
func (c *Caps) exceeded(p Processor, contentType string, b []byte) string {
	switch p {
	case JSON:
		if jsonDeeper(b, c.JSONDepth) {
			return beyondJSON
		}
	case Multipart:
		if partsOver(b, contentType, c.Parts) {
			return beyondParts
		}
	case XML:
		if declaresEntity(b) {
			return beyondDTD
		}
		if bytes.Count(b, []byte("<"))+bytes.Count(b, []byte("=")) > c.XMLNodes {
			return beyondXML
		}
	}
	return ""
}

// jsonDeeper reports whether arrays and objects stand in one another more than
// limit deep, in JSON or in what only looks like it.
func jsonDeeper(b []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			if depth > 0 {
				depth--
			}
		}
	}
	return false
}

// partsOver reports whether a multipart body has more than limit delimiters.
// Content without a boundary is the rules' to refuse.
func partsOver(b []byte, contentType string, limit int) bool {
	_, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || boundary == "" {
		return false
	}
	return bytes.Count(b, []byte("--"+boundary)) > limit+1 // the last one closes
}

// declaresEntity reports whether a document type declares entities: what they
// stand for, and how large that is, is known to the one who expands them only.
func declaresEntity(b []byte) bool {
	for {
		i := bytes.Index(b, []byte("<!"))
		if i < 0 {
			return false
		}
		b = b[i+2:]
		if len(b) >= 6 && bytes.EqualFold(b[:6], []byte("ENTITY")) {
			return true
		}
	}
}
