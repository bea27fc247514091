package crs

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

// Test is one test of the suite. It passes if all of its stages do.
type Test struct {
	ID     string // The rule's id and the test's number: "920100-4".
	Stages []Stage
}

// Stage is one request and what must come of it.
type Stage struct {
	Input  Input
	Output Output
}

// Input is a request. Where Raw is set it is all that is sent, and nothing else
// of the input counts.
type Input struct {
	Method, URI, Version string
	Fields               []Field
	Data                 string
	Complete             bool // Fields that are missing are added.
	Raw                  []byte
}

// Field is one header field. A stage's fields keep their order.
type Field struct{ Name, Value string }

// Output is what must come of a request. What is not set is not asked for.
type Output struct {
	Status           int
	NoResponse       *bool // Whether the server may not answer in HTTP.
	ResponseContains *regexp.Regexp
	IDs, NoIDs       []int          // Rules in the log, all of them, and none of them.
	Match, NoMatch   *regexp.Regexp // Of one line of the log, and of none.
	Isolated         bool           // No rule but that one.
}

// The document as it is written.
type (
	document struct {
		Author string    `yaml:"author"` // Misplaced, in one file.
		Meta   meta      `yaml:"meta"`
		RuleID int       `yaml:"rule_id"`
		Tests  []written `yaml:"tests"`
	}
	meta struct {
		Author      string   `yaml:"author"`
		Description string   `yaml:"description"`
		Version     string   `yaml:"version"`
		Tags        []string `yaml:"tags"`
	}
	written struct {
		ID     int            `yaml:"test_id"`
		Desc   string         `yaml:"desc"`
		Tags   []string       `yaml:"tags"`
		Stages []writtenStage `yaml:"stages"`
	}
	writtenStage struct {
		Desc   string        `yaml:"description"`
		Input  writtenInput  `yaml:"input"`
		Output writtenOutput `yaml:"output"`
	}
	writtenInput struct {
		DestAddr string    `yaml:"dest_addr"` // The listener of the run takes its place,
		Port     int       `yaml:"port"`      // and this one's.
		Method   *string   `yaml:"method"`
		URI      *string   `yaml:"uri"`
		Version  *string   `yaml:"version"`
		Headers  yaml.Node `yaml:"headers"`
		Data     *string   `yaml:"data"`
		Encoded  string    `yaml:"encoded_request"`
		Complete *bool     `yaml:"autocomplete_headers"`
	}
	writtenOutput struct {
		Status           int        `yaml:"status"`
		ExpectError      *bool      `yaml:"expect_error"`
		ResponseContains string     `yaml:"response_contains"`
		RetryOnce        bool       `yaml:"retry_once"`
		Isolated         bool       `yaml:"isolated"`
		Log              writtenLog `yaml:"log"`
	}
	writtenLog struct {
		IDs     []int  `yaml:"expect_ids"`
		NoIDs   []int  `yaml:"no_expect_ids"`
		Match   string `yaml:"match_regex"`
		NoMatch string `yaml:"no_match_regex"`
	}
)

// Load reads every file of a suite that ends in .yaml, by name. The error has
// everything that is wrong with it.
func Load(fsys fs.FS) ([]Test, error) {
	var tests []Test
	var errs []error
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yaml" {
			return err
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		some, err := parse(src)
		if err != nil {
			errs = append(errs, fmt.Errorf("reading the tests of %q: %w", name, err))
		}
		tests = append(tests, some...)
		return nil
	})
	return tests, errors.Join(append(errs, err)...)
}

// parse reads one file. A file of comments holds no test.
func parse(src []byte) ([]Test, error) {
	var doc document
	d := yaml.NewDecoder(bytes.NewReader(src))
	d.KnownFields(true)
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := d.Decode(new(document)); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one document")
	}
	var tests []Test
	for i := range doc.Tests {
		w := &doc.Tests[i]
		t := Test{ID: fmt.Sprintf("%d-%d", doc.RuleID, w.ID)}
		for k := range w.Stages {
			s, err := w.Stages[k].stage()
			if err != nil {
				return nil, fmt.Errorf("test %s: %w", t.ID, err)
			}
			t.Stages = append(t.Stages, s)
		}
		if len(t.Stages) == 0 {
			return nil, fmt.Errorf("test %s: it has no stage", t.ID)
		}
		tests = append(tests, t)
	}
	return tests, nil
}

func (w *writtenStage) stage() (s Stage, err error) {
	if s.Input, err = w.Input.input(); err != nil {
		return Stage{}, err
	}
	if s.Output, err = w.Output.output(); err != nil {
		return Stage{}, err
	}
	return s, nil
}

// input fills in what is left out, as the suite's schema says.
func (w *writtenInput) input() (Input, error) {
	or := func(v *string, preset string) string {
		if v == nil {
			return preset
		}
		return *v
	}
	in := Input{
		Method: or(w.Method, "GET"), URI: or(w.URI, "/"), Version: or(w.Version, "HTTP/1.1"),
		Complete: w.Complete == nil || *w.Complete,
	}
	if w.Encoded != "" {
		raw, err := base64.StdEncoding.DecodeString(w.Encoded)
		if err != nil {
			return Input{}, fmt.Errorf("decoding encoded_request: %w", err)
		}
		if w.Data != nil {
			return Input{}, errors.New("both data and encoded_request are set")
		}
		in.Raw = raw
	}
	for i := 0; i+1 < len(w.Headers.Content); i += 2 {
		in.Fields = append(in.Fields, Field{w.Headers.Content[i].Value, w.Headers.Content[i+1].Value})
	}
	var err error
	in.Data, err = expand(or(w.Data, ""))
	return in, err
}

// expand fills in what the suite's data leaves to a template: repetitions.
func expand(data string) (string, error) {
	if !strings.Contains(data, "{{") {
		return data, nil
	}
	t, err := template.New("data").Funcs(template.FuncMap{
		"repeat": func(n int, s string) string { return strings.Repeat(s, n) },
	}).Parse(data)
	if err != nil {
		return "", fmt.Errorf("reading the template in data: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, nil); err != nil {
		return "", fmt.Errorf("filling the template in data: %w", err)
	}
	return b.String(), nil
}

func (w *writtenOutput) output() (Output, error) {
	out := Output{
		Status: w.Status, NoResponse: w.ExpectError,
		IDs: w.Log.IDs, NoIDs: w.Log.NoIDs, Isolated: w.Isolated,
	}
	if w.Isolated && len(w.Log.IDs) != 1 {
		return Output{}, errors.New("isolated wants exactly one id in expect_ids")
	}
	for _, p := range []struct {
		into *(*regexp.Regexp)
		text string
	}{{&out.ResponseContains, w.ResponseContains}, {&out.Match, w.Log.Match}, {&out.NoMatch, w.Log.NoMatch}} {
		if p.text == "" {
			continue
		}
		re, err := regexp.Compile(p.text)
		if err != nil {
			return Output{}, fmt.Errorf("reading a pattern: %w", err)
		}
		*p.into = re
	}
	return out, nil
}
