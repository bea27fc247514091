package schema

import (
	"bytes"
	"encoding/json"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseJSON reads a document that is known to be valid JSON into the same kind
// of tree as YAML. (YAML parsers refuse some valid JSON, such as surrogate
// pairs.) It returns nil if the document is nested too deeply to be cleaned.
func parseJSON(src []byte) *yaml.Node {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	p := jsonParser{src: src, dec: dec, line: 1}
	return p.value()
}

type jsonParser struct {
	src  []byte
	dec  *json.Decoder
	at   int // offset up to which lines are counted
	line int
	bol  int // offset of the first byte of the line
}

// place moves to the first byte of the token after offset from.
func (p *jsonParser) place(from int64) (line, column int) {
	end := int(from)
	for end < len(p.src) && strings.IndexByte(" \t\r\n,:", p.src[end]) >= 0 {
		end++
	}
	for ; p.at < end; p.at++ {
		if p.src[p.at] == '\n' {
			p.line++
			p.bol = p.at + 1
		}
	}
	return p.line, end - p.bol + 1
}

func (p *jsonParser) value() *yaml.Node {
	line, column := p.place(p.dec.InputOffset())
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line, Column: column}
	tok, err := p.dec.Token()
	if err != nil {
		// The document was checked, so this cannot happen.
		panic("BUG: reading a token of valid JSON: " + err.Error())
	}
	switch t := tok.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.MappingNode, tagMap
		if t == '[' {
			n.Kind, n.Tag = yaml.SequenceNode, tagSeq
		}
		for p.dec.More() {
			n.Content = append(n.Content, p.value())
		}
		_, _ = p.dec.Token() // the closing delimiter
	case string:
		n.Tag, n.Value, n.Style = tagString, t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = tagInt, t.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = tagFloat
		}
	case bool:
		n.Tag, n.Value = tagBool, "false"
		if t {
			n.Value = "true"
		}
	case nil:
		n.Tag, n.Value = tagNull, "null"
	}
	return n
}
